//! TLS with pinned peers and the cluster CA, live reload, and the API's messages and client.
