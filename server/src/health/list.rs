//! `grpc.health.v1.Health/List`, which tonic-health does not have yet: one answer for every service.
//!
//! All services of a server are as ready as it is, so the answer is of one moment, which the protocol does not even ask.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MessageOptions, MethodDescriptorProto,
};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_health::pb::HealthCheckResponse;
use tonic_health::pb::health_server::HealthServer;
use tonic_prost::ProstCodec;

use super::{GrpcHealth, response};

/// The method's name.
pub(crate) const LIST: &str = "grpc.health.v1.Health/List";

/// Asks for all.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct HealthListRequest {}

/// The status of each service, and of the server as "".
#[derive(Clone, PartialEq, Message)]
struct HealthListResponse {
    #[prost(map = "string, message", tag = "1")]
    statuses: HashMap<String, HealthCheckResponse>,
}

/// `grpc.health.v1.Health` with all its methods.
#[derive(Clone, Debug)]
pub(crate) struct WithList {
    health: Arc<GrpcHealth>,
    rest: HealthServer<GrpcHealth>,
}

impl WithList {
    pub(crate) fn new(health: GrpcHealth) -> Self {
        let health = Arc::new(health);
        Self { rest: HealthServer::from_arc(health.clone()), health }
    }
}

impl NamedService for WithList {
    const NAME: &'static str = <HealthServer<GrpcHealth> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for WithList {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path().strip_prefix('/') != Some(LIST) {
            return self.rest.call(request);
        }

        let list = List(self.health.clone());
        let codec = ProstCodec::<HealthListResponse, HealthListRequest>::default();
        Box::pin(async move { Ok(Grpc::new(codec).unary(list, request).await) })
    }
}

struct List(Arc<GrpcHealth>);

impl UnaryService<HealthListRequest> for List {
    type Response = HealthListResponse;
    type Future = Ready<Result<Response<HealthListResponse>, Status>>;

    fn call(&mut self, _request: Request<HealthListRequest>) -> Self::Future {
        let status = response(self.0.health.snapshot().readiness.serving_status());
        let names = self.0.services.iter().copied().chain([""]);
        let statuses = names.map(|name| (name.to_owned(), status)).collect();
        ready(Ok(Response::new(HealthListResponse { statuses })))
    }
}

/// tonic-health's descriptors with the method in them, for reflection and for the table of methods.
pub(crate) fn descriptors() -> &'static [u8] {
    static ENCODED: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let set = FileDescriptorSet::decode(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let mut set = set.expect("tonic-health encoded it");
        let services = set.file.iter().flat_map(|file| &file.service);
        if !services.flat_map(|service| &service.method).any(|method| method.name() == "List") {
            add_list(&mut set);
        }
        set.encode_to_vec()
    });
    &ENCODED
}

fn add_list(set: &mut FileDescriptorSet) {
    let file = &mut set.file[0];
    let request = Some("HealthListRequest".to_owned());
    file.message_type.push(DescriptorProto { name: request, ..DescriptorProto::default() });
    file.message_type.push(list_response());
    file.service[0].method.push(MethodDescriptorProto {
        name: Some("List".to_owned()),
        input_type: Some(".grpc.health.v1.HealthListRequest".to_owned()),
        output_type: Some(".grpc.health.v1.HealthListResponse".to_owned()),
        ..MethodDescriptorProto::default()
    });
}

/// In descriptors, a map is a repeated message of keys and values.
fn list_response() -> DescriptorProto {
    let key = field("key", 1, Label::Optional, None);
    let value = field("value", 2, Label::Optional, Some("HealthCheckResponse"));
    let entry = DescriptorProto {
        name: Some("StatusesEntry".to_owned()),
        field: vec![key, value],
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..DescriptorProto::default()
    };
    let entries = Some("HealthListResponse.StatusesEntry");
    DescriptorProto {
        name: Some("HealthListResponse".to_owned()),
        field: vec![field("statuses", 1, Label::Repeated, entries)],
        nested_type: vec![entry],
        ..DescriptorProto::default()
    }
}

/// Of this message type, else a string.
fn field(name: &str, number: i32, label: Label, message: Option<&str>) -> FieldDescriptorProto {
    let kind = if message.is_some() { Type::Message } else { Type::String };
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        type_name: message.map(|message| format!(".grpc.health.v1.{message}")),
        json_name: Some(name.to_owned()),
        ..FieldDescriptorProto::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_have_the_method_once_and_its_messages() {
        let set = FileDescriptorSet::decode(descriptors()).unwrap();
        let [file] = &set.file[..] else { panic!("there is one file") };
        let methods = file.service[0].method.iter().filter(|method| method.name() == "List");
        assert_eq!(methods.count(), 1);
        for message in ["HealthListRequest", "HealthListResponse"] {
            assert!(file.message_type.iter().any(|it| it.name() == message), "{message}");
        }
    }
}
