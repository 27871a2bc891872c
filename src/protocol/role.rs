//! The two ends of a session.

/// Which end this is. The connector is the Noise initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the TCP connection.
    Connector,
    /// Accepted it.
    Listener,
}

impl Role {
    /// The other one.
    pub fn peer(self) -> Role {
        match self {
            Role::Connector => Role::Listener,
            Role::Listener => Role::Connector,
        }
    }
}
