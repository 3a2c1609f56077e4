//! The Dockerfile against the manifests and the workspace.

use std::collections::BTreeSet;

use crate::documents::{Overlay, at, file, list, number, text, workspace};
use crate::program::{Program, SERVICES, everywhere};

/// The instructions of a Dockerfile's stage, by the stage's name.
fn stage<'text>(dockerfile: &'text str, name: &str) -> Vec<&'text str> {
    let mut lines = dockerfile
        .lines()
        .skip_while(|line| !(line.starts_with("FROM ") && line.ends_with(&format!(" AS {name}"))));
    let from = lines.next().unwrap_or_else(|| panic!("no stage {name}"));
    std::iter::once(from).chain(lines.take_while(|line| !line.starts_with("FROM "))).collect()
}

#[test]
fn each_image_has_a_stage_of_its_name_that_runs_the_program_and_exposes_its_ports() {
    let dockerfile = file("Dockerfile");
    for program in everywhere() {
        let name = program.service.name();
        let image = text(program.container, "/image");
        let (repository, _) = image.split_once(['@', ':']).expect("images have a tag or a digest");
        assert!(repository.ends_with(&format!("holdfast/{name}")), "{image}");
        let stage = stage(&dockerfile, name);
        let has = |line: String| assert!(stage.contains(&line.as_str()), "{name} lacks: {line}");
        has(format!("EXPOSE {} {}", program.port("grpc"), program.port("admin")));
        has(format!("ENTRYPOINT [\"/usr/local/bin/{name}\"]"));
        has(format!("COPY --from=services /programs/{name} /usr/local/bin/{name}"));
    }
}

#[test]
fn what_is_tried_out_has_a_tag_of_its_own_that_both_services_share() {
    for service in SERVICES {
        let image = text(Program::of(Overlay::Local, service).container, "/image");
        assert_eq!(image, format!("holdfast/{}:local", service.name()));
    }
}

/// A tag names another image tomorrow.
#[test]
fn in_production_every_image_is_named_by_its_digest() {
    let documents = Overlay::Production.documents();
    let clusters = documents.of("Cluster").map(|cluster| text(cluster, "/spec/imageName"));
    let pods = documents.of("Deployment").map(|it| at(it, "/spec/template/spec"));
    let containers =
        pods.flat_map(|pod| list(pod, "/initContainers").iter().chain(list(pod, "/containers")));
    let images = containers.map(|container| text(container, "/image")).chain(clusters);

    let images: Vec<_> = images.collect();
    assert_eq!(images.len(), 2 * 2 + 2, "{images:?}");
    for image in images {
        let (_, digest) = image.split_once("@sha256:").unwrap_or_else(|| panic!("{image}"));
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_digest, "{image}");
    }
}

#[test]
fn the_image_and_the_manifests_name_the_same_user() {
    let dockerfile = file("Dockerfile");
    for program in everywhere() {
        let id = |pointer: &str| number(program.pod, &format!("/securityContext/{pointer}"));
        let user = format!("USER {}:{}", id("runAsUser"), id("runAsGroup"));
        assert!(stage(&dockerfile, "runtime").contains(&user.as_str()), "no {user}");
    }
}

#[test]
fn images_are_compiled_by_the_compiler_that_everything_is_tested_with() {
    let toolchain = file("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
    let from = format!("FROM rust:{}-bookworm AS sources", channel.trim_matches('"'));
    assert_eq!(stage(&file("Dockerfile"), "sources")[0], from);
}

#[test]
fn all_that_cargo_needs_is_sent_to_the_builder_and_it_exists() {
    let ignore = file(".dockerignore");
    let sent: BTreeSet<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for path in &sent {
        assert!(workspace(path).exists(), "{path} does not exist");
    }
    let manifest = file("Cargo.toml");
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let members = members.lines().filter_map(|line| line.split('"').nth(1));
    let needed: BTreeSet<_> = members.chain(["Cargo.toml", "Cargo.lock"]).collect();
    assert_eq!(sent, needed);
}
