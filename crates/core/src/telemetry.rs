//! Every name that spans, events and metrics use, once. OpenTelemetry's messaging conventions, still in development
//! there, hence one module.

/// The value of `messaging.system`.
pub const SYSTEM: &str = "lovage";
/// The span around a body.
pub const SPAN_PROCESS: &str = "process";
/// The span around a send.
pub const SPAN_SEND: &str = "send";
