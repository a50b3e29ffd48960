//! Where the function's other attributes go.

use syn::Attribute;

/// The attributes beside `#[task]`, by the items that they belong on.
#[derive(Default)]
pub(crate) struct Attributes {
    /// Its documentation, and `derive` and `serde`, which are for types: on the message.
    pub(crate) message: Vec<Attribute>,
    /// `cfg`, and the lint levels that may be repeated: on every item.
    pub(crate) everywhere: Vec<Attribute>,
    /// `deprecated`: on the builder, since whoever names the message has called it.
    pub(crate) builder: Vec<Attribute>,
    /// All others, such as `tracing::instrument`: on the function that has the body.
    pub(crate) call: Vec<Attribute>,
}

impl Attributes {
    /// Sorts the attributes of the function.
    pub(crate) fn sort(attributes: &[Attribute]) -> Self {
        let mut sorted = Self::default();
        for attribute in attributes {
            let path = attribute.path();
            let is = |names: &[&str]| names.iter().any(|name| path.is_ident(name));
            let group = if is(&["doc", "derive", "serde"]) {
                &mut sorted.message
            } else if is(&["cfg", "allow", "warn", "deny"]) {
                &mut sorted.everywhere
            } else if is(&["deprecated"]) {
                &mut sorted.builder
            } else {
                &mut sorted.call
            };
            group.push(attribute.clone());
        }
        sorted
    }
}
