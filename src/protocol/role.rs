//! The two ends of a session.

/// Which end this is. The connector is the Noise initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that opened the TCP connection.
    Connector,
    /// The end that accepted it.
    Listener,
}

impl Role {
    /// Returns the other role.
    pub fn peer(self) -> Role {
        match self {
            Role::Connector => Role::Listener,
            Role::Listener => Role::Connector,
        }
    }
}
