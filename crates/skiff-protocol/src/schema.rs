//! Schemas of what has none of its own: exactly what is read is described, no more and no less.

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::{Name, VariableName};

/// Declares schemas: of types that exist, and with names for those that have none.
macro_rules! schemas {
    ($($(#[$doc:meta])* $name:ident = $schema:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        schemas!(impl $name = $schema;);
    )*};
    ($(impl $name:ident = $schema:expr;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

schemas! {
    impl Name = text("^[a-z0-9]+([._-][a-z0-9]+)*$").min_length(Some(1)).max_length(Some(63));
    impl VariableName = text("^[A-Z_][A-Z0-9_]*$").min_length(Some(1)).max_length(Some(128));
}

schemas! {
    /// A version of the format.
    Version = integer(usize::from(u16::MAX));
    /// A number of bytes.
    Bytes = integer(u64::MAX as usize);
    /// What a release is called.
    Release = text("^(sha256:)?[0-9a-fA-F]{64}$");
    /// A codec: two numbers of 16 bits, in decimal.
    CodecText = text(&format!("^{NUMBER}(\\.{NUMBER})?$"));
}

const NUMBER: &str = "0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

fn integer(maximum: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0_usize)).maximum(Some(maximum))
}

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}
