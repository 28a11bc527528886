//! Alerts: rules, their lifecycle, and where they go.
