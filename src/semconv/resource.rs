//! Resource attributes.

/// The service's name.
pub const SERVICE_NAME: &str = "service.name";

/// What the SDK says of itself, beside the attributes of the OpenTelemetry SDK.
pub(crate) const DISTRO: [(&str, &str); 2] =
    [("telemetry.distro.name", "agentvitals"), ("telemetry.distro.version", env!("CARGO_PKG_VERSION"))];
