//! The flags of [`GrpcWeb`].

use clap::Args;

use super::judge::Judge;
use crate::GrpcWeb;

const FLAG: &str = "--grpc-web-origin";

/// As typed.
#[derive(Args, Clone, Debug)]
pub(super) struct WebArgs {
    /// gRPC-Web for pages in browsers, on the port of gRPC, over HTTP/1.1 too: on or off
    #[arg(long, env = "GRPC_WEB", value_name = "ON|OFF", default_value = "off")]
    grpc_web: String,
    /// Origins of the pages that may call, such as https://shop.example,http://localhost:8080
    #[arg(long, env = "GRPC_WEB_ORIGIN", value_name = "ORIGIN,…")]
    grpc_web_origin: Option<String>,
}

impl WebArgs {
    pub(super) fn judged(self, judge: &mut Judge<'_>) -> Option<GrpcWeb> {
        let is_on = judge.switch("--grpc-web", &self.grpc_web);
        let origins = match (is_on, self.grpc_web_origin) {
            (false, None) => return None,
            (false, Some(_)) => {
                judge.problems.add(FLAG, "needs --grpc-web on");
                return None;
            }
            (true, None) => {
                judge.problems.add(FLAG, "is missing: --grpc-web on needs it");
                return None;
            }
            (true, Some(origins)) => origins,
        };
        let parsed = judge.problems.parse(FLAG, &origins, |raw| {
            raw.split(',').map(|origin| origin_of(origin.trim())).collect()
        });
        Some(GrpcWeb { origins: parsed? })
    }
}

/// An origin as browsers write it: no path, no capitals, no port that the scheme has anyway. Anything else would never
/// equal what they send.
fn origin_of(raw: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("has {raw:?}, which {why}"));
    let (host, own_port) = match (raw.strip_prefix("https://"), raw.strip_prefix("http://")) {
        (Some(host), _) => (host, ":443"),
        (None, Some(host)) => (host, ":80"),
        (None, None) => return wrong("is no origin such as https://shop.example"),
    };
    if host.is_empty() || host.contains(['/', '?', '#', '@', '*']) {
        return wrong("is more or less than scheme, host and port");
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii_graphic()) {
        return wrong("browsers would write in lower case, and in ASCII");
    }
    if host.ends_with(own_port) {
        return wrong("browsers would write without its port");
    }
    Ok(raw.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problems;

    fn judged(switch: &str, origins: Option<&str>) -> Result<Option<GrpcWeb>, String> {
        let mut problems = Problems::new();
        let typed =
            WebArgs { grpc_web: switch.to_owned(), grpc_web_origin: origins.map(str::to_owned) };
        let web = typed.judged(&mut Judge { problems: &mut problems });
        problems.none_or(web).map_err(|problems| problems.to_string())
    }

    #[test]
    fn origins_are_told_with_the_switch_and_only_then() {
        assert_eq!(judged("off", None), Ok(None));
        let web = judged("on", Some("https://shop.example, http://localhost:8080")).unwrap();
        assert_eq!(web.unwrap().origins, ["https://shop.example", "http://localhost:8080"]);
        for (switch, origins) in [("on", None), ("off", Some("https://shop.example"))] {
            let told = judged(switch, origins).unwrap_err();
            assert!(told.contains("--grpc-web-origin (GRPC_WEB_ORIGIN)"), "{told}");
        }
    }

    #[test]
    fn what_no_browser_sends_as_its_origin_is_refused() {
        for bad in [
            "*",
            "null",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://*.example",
            "https://Shop.example",
            "https://shop.example:443",
            "http://localhost:80",
            "https://shop.example,",
        ] {
            assert!(judged("on", Some(bad)).is_err(), "{bad}");
        }
    }
}
