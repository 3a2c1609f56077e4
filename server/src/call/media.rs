//! Telling gRPC from whatever else comes to its port, by the head of a request.
//!
//! What is not gRPC is answered in HTTP before any of its body is read: a JSON text must not be taken for the length of a
//! message. 415 for another content type and 405 for another method, as the gRPC specification of HTTP/2 and its
//! implementations have it, 426 for gRPC over HTTP/1.1, and 403 for a page of a foreign origin
//! ([`GrpcWeb`](crate::GrpcWeb)). None of it is a call: it takes no caller's share and has no line in the audit trail.

use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use tonic::body::Body;

use super::web;
use crate::GrpcWeb;

/// What a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Grpc,
    /// gRPC-Web, and the origin of the page that sends it, if it is a page.
    Web(Option<HeaderValue>),
    /// A browser asks whether a page of this origin may send gRPC-Web.
    Preflight(HeaderValue),
}

/// Why a request is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotGrpc {
    ContentType,
    Method,
    Http1,
    Origin,
}

/// Judges a request. `web` is absent where gRPC-Web is not served.
pub(super) fn judge<B>(request: &Request<B>, web: Option<&GrpcWeb>) -> Result<Media, NotGrpc> {
    let headers = request.headers();
    if let Some(web) = web {
        if let Some(origin) = preflight(request.method(), headers) {
            return origin_of(web, headers).map(|_| Media::Preflight(origin.clone()));
        }
        if is_web(headers) {
            only_post(request.method())?;
            return origin_of(web, headers).map(Media::Web);
        }
    }

    if !is_grpc(headers) {
        return Err(NotGrpc::ContentType);
    }
    only_post(request.method())?;
    if request.version() < Version::HTTP_2 {
        return Err(NotGrpc::Http1);
    }
    Ok(Media::Grpc)
}

impl NotGrpc {
    pub(super) fn response(self) -> Response<Body> {
        let (status, text) = match self {
            Self::ContentType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this port speaks gRPC: content-type application/grpc\n",
            ),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "gRPC calls are POST\n"),
            Self::Http1 => (StatusCode::UPGRADE_REQUIRED, "gRPC needs HTTP/2\n"),
            Self::Origin => {
                (StatusCode::FORBIDDEN, "pages of this origin are not served: --grpc-web-origin\n")
            }
        };
        let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Self::Method => _ = headers.insert(ALLOW, HeaderValue::from_static("POST")),
            Self::Http1 => _ = headers.insert(UPGRADE, HeaderValue::from_static("HTTP/2.0")),
            Self::ContentType | Self::Origin => {}
        }
        response
    }
}

/// `application/grpc` with any subtype or parameter. gRPC-Web begins alike and is framed otherwise.
fn is_grpc(headers: &HeaderMap) -> bool {
    let rest = content_type(headers).and_then(|all| all.strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';' | b' ', ..]))
}

/// As tonic-web reads it.
fn is_web(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|all| web::CONTENT_TYPES.contains(&all))
}

fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)
}

fn preflight<'head>(method: &Method, headers: &'head HeaderMap) -> Option<&'head HeaderValue> {
    let asks = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    headers.get(ORIGIN).filter(|_| asks)
}

fn only_post(method: &Method) -> Result<(), NotGrpc> {
    if method == Method::POST { Ok(()) } else { Err(NotGrpc::Method) }
}

/// A browser sends no request for a page without naming its origin; who else calls may leave it out.
fn origin_of(web: &GrpcWeb, headers: &HeaderMap) -> Result<Option<HeaderValue>, NotGrpc> {
    match headers.get(ORIGIN) {
        Some(origin) if !web.allows(origin) => Err(NotGrpc::Origin),
        origin => Ok(origin.cloned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://shop.example";

    fn web() -> GrpcWeb {
        GrpcWeb { origins: vec![PAGE.to_owned()] }
    }

    fn judged(method: &str, headers: &[(&str, &str)], version: Version) -> [String; 2] {
        let mut request = Request::builder().method(method).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let told = |web| match judge(&request, web) {
            Ok(Media::Grpc) => "grpc".to_owned(),
            Ok(Media::Web(_)) => "web".to_owned(),
            Ok(Media::Preflight(_)) => "preflight".to_owned(),
            Err(why) => why.response().status().as_u16().to_string(),
        };
        [told(None), told(Some(&web()))]
    }

    #[test]
    fn content_types_are_told_apart() {
        for (content_type, expected) in [
            ("application/grpc", ["grpc", "grpc"]),
            ("application/grpc+proto", ["grpc", "grpc"]),
            ("application/grpc;charset=utf-8", ["grpc", "grpc"]),
            ("application/grpcs", ["415", "415"]),
            ("application/json", ["415", "415"]),
            ("", ["415", "415"]),
            ("application/grpc-web", ["415", "web"]),
            ("application/grpc-web+proto", ["415", "web"]),
            ("application/grpc-web-text", ["415", "web"]),
            ("application/grpc-web-text+proto", ["415", "web"]),
            ("application/grpc-web+json", ["415", "415"]),
        ] {
            let told = judged("POST", &[("content-type", content_type)], Version::HTTP_2);
            assert_eq!(told, expected, "{content_type}");
        }
        assert_eq!(judged("GET", &[], Version::HTTP_2), ["415", "415"]);
    }

    #[test]
    fn calls_are_posts_and_grpc_needs_http_2() {
        let grpc = [("content-type", "application/grpc")];
        assert_eq!(judged("GET", &grpc, Version::HTTP_2), ["405", "405"]);
        assert_eq!(judged("POST", &grpc, Version::HTTP_11), ["426", "426"]);
        let web = [("content-type", "application/grpc-web")];
        assert_eq!(judged("POST", &web, Version::HTTP_11), ["415", "web"]);
        assert_eq!(judged("PUT", &web, Version::HTTP_11), ["415", "405"]);
    }

    #[test]
    fn a_page_of_a_foreign_origin_is_refused_before_anything_runs() {
        let from = |origin| [("content-type", "application/grpc-web"), ("origin", origin)];
        assert_eq!(judged("POST", &from(PAGE), Version::HTTP_2)[1], "web");
        let foreign =
            ["https://evil.example", "http://shop.example", "https://shop.example:8443", "null"];
        for foreign in foreign {
            assert_eq!(judged("POST", &from(foreign), Version::HTTP_2)[1], "403", "{foreign}");
            let asks = [("origin", foreign), ("access-control-request-method", "POST")];
            assert_eq!(judged("OPTIONS", &asks, Version::HTTP_11), ["415", "403"], "{foreign}");
        }
        let asks = [("origin", PAGE), ("access-control-request-method", "POST")];
        assert_eq!(judged("OPTIONS", &asks, Version::HTTP_11), ["415", "preflight"]);
    }
}
