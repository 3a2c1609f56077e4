//! As much of Markdown as these documents use.

/// The lines outside of fenced code, each with its number from 1.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// What stands between single backticks.
pub(crate) fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of links and images, also those in HTML.
pub(crate) fn targets(line: &str) -> Vec<&str> {
    let plain = line.split('`').step_by(2);
    let between = |text: &'_ str, open: &str, close: char| -> Vec<(usize, usize)> {
        let starts = text.match_indices(open).map(|(at, _)| at + open.len());
        starts.filter_map(|at| Some((at, at + text[at..].find(close)?))).collect()
    };
    let openings = [("](", ')'), ("src=\"", '"'), ("href=\"", '"'), ("srcset=\"", '"')];
    let mut found = Vec::new();

    for (open, close) in openings {
        // A link's text may hold code, so its target is looked for in the whole line.
        let all: Vec<&str> = if open == "](" { vec![line] } else { plain.clone().collect() };
        for part in all {
            found.extend(between(part, open, close).into_iter().map(|(from, to)| &part[from..to]));
        }
    }
    found
}

/// The anchors that a document offers: its headings, spelt as GitHub spells them, and the ids it sets itself.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let mut slugs = Vec::new();
    let mut anchors = Vec::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() < line.len() && title.starts_with(' ') {
            let slug = slug(title.trim());
            let again = slugs.iter().filter(|it| **it == slug).count();
            anchors.push(if again == 0 { slug.clone() } else { format!("{slug}-{again}") });
            slugs.push(slug);
        }
        let ids = line.match_indices("id=\"").map(|(at, open)| &line[at + open.len()..]);
        anchors.extend(ids.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    anchors
}

fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The cells of a table's row; `None` for the row of dashes below headings. No cell that is read holds a `|`.
pub(crate) fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<_> = row.split('|').map(str::trim).collect();
    let is_rule = cells.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':')));
    (!is_rule).then_some(cells)
}

#[test]
fn anchors_are_spelt_as_github_spells_them() {
    let text =
        "# A `reason`: why?\n## Twice\n```\n# no heading\n```\n## Twice\n<a id=\"own\"></a>\n";
    assert_eq!(anchors(text), ["a-reason-why", "twice", "twice-1", "own"]);
}

#[test]
fn links_are_found_beside_code_and_images() {
    let line = "see [the `a`](b.md#c), `[no](link)` and <img src=\"d.svg\">";
    assert_eq!(targets(line), ["b.md#c", "link", "d.svg"]);
}
