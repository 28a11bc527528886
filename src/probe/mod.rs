//! Active checks: is a tool, a server, an endpoint there, and how fast does it answer?
