//! What is described of every route alike.

use skiff_protocol::{Problem, VariableName};
use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
};

use super::answer::PROBLEM;

/// The description, without its routes.
pub(super) fn begun() -> OpenApi {
    let scheme = |scheme, description| {
        SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(description)).build())
    };
    let mut info = InfoBuilder::new().title("Skiff").version(env!("CARGO_PKG_VERSION"));
    info = info
        .description(Some("Deltas of container images on request, and what a fleet of devices shall run."));
    let components = ComponentsBuilder::new()
        .security_scheme("token", scheme(HttpAuthScheme::Bearer, "A token of a device or an administrator"))
        .security_scheme(
            "password",
            scheme(
                HttpAuthScheme::Basic,
                "The same as the password of whatever user, as clients of registries send it",
            ),
        )
        .schema(Problem::name(), Problem::schema())
        // Named by paths alone, which utoipa does not look into.
        .schema(VariableName::name(), VariableName::schema());
    OpenApiBuilder::new().info(info.build()).components(Some(components.build())).build()
}

/// Adds to each route what any of them may answer, and how a token may be sent.
pub(super) fn complete(api: &mut OpenApi) {
    for path in api.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            complete_operation(operation);
        }
    }
}

fn complete_operation(operation: &mut Operation) {
    if operation.security.as_ref().is_some_and(|security| !security.is_empty()) {
        let either = ["token", "password"].map(|scheme| SecurityRequirement::new(scheme, [""; 0]));
        operation.security = Some(either.into());
    }
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    let failed = ResponseBuilder::new().description("The server failed, or has too much to do now");
    let failed = failed.content(PROBLEM, content).build();
    operation.responses.responses.entry("5XX".into()).or_insert_with(|| failed.into());
}
