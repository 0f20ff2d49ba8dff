//! The error codes of STUN and TURN.

/// A number of 300 to 699 with which a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u16);

impl Code {
    /// Another server is to be asked (RFC 8489 section 14.8).
    pub const TRY_ALTERNATE: Self = Self(300);
    /// The request is malformed (RFC 8489 section 14.8).
    pub const BAD_REQUEST: Self = Self(400);
    /// Credentials are missing or wrong (RFC 8489 section 14.8).
    pub const UNAUTHENTICATED: Self = Self(401);
    /// The peer or the operation is denied (RFC 8656 section 19).
    pub const FORBIDDEN: Self = Self(403);
    /// A comprehension-required attribute is not understood (RFC 8489 section 14.8).
    pub const UNKNOWN_ATTRIBUTE: Self = Self(420);
    /// The five-tuple has an allocation already, or has none (RFC 8656 section 19).
    pub const ALLOCATION_MISMATCH: Self = Self(437);
    /// The nonce is no longer valid (RFC 8489 section 14.8).
    pub const STALE_NONCE: Self = Self(438);
    /// No relayed address of this family (RFC 8656 section 19).
    pub const ADDRESS_FAMILY_NOT_SUPPORTED: Self = Self(440);
    /// Not the user who made the allocation (RFC 8656 section 19).
    pub const WRONG_CREDENTIALS: Self = Self(441);
    /// Not UDP (RFC 8656 section 19).
    pub const UNSUPPORTED_TRANSPORT_PROTOCOL: Self = Self(442);
    /// The peer's family is not the relayed address's (RFC 8656 section 19).
    pub const PEER_ADDRESS_FAMILY_MISMATCH: Self = Self(443);
    /// The user or the source has as many as it may (RFC 8656 section 19).
    pub const ALLOCATION_QUOTA_REACHED: Self = Self(486);
    /// The server has as many as it can have (RFC 8656 section 19).
    pub const INSUFFICIENT_CAPACITY: Self = Self(508);

    /// The reason phrase that its RFC gives it; empty for a code that this server does not send.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TRY_ALTERNATE => "Try Alternate",
            Self::BAD_REQUEST => "Bad Request",
            Self::UNAUTHENTICATED => "Unauthenticated",
            Self::FORBIDDEN => "Forbidden",
            Self::UNKNOWN_ATTRIBUTE => "Unknown Attribute",
            Self::ALLOCATION_MISMATCH => "Allocation Mismatch",
            Self::STALE_NONCE => "Stale Nonce",
            Self::ADDRESS_FAMILY_NOT_SUPPORTED => "Address Family not Supported",
            Self::WRONG_CREDENTIALS => "Wrong Credentials",
            Self::UNSUPPORTED_TRANSPORT_PROTOCOL => "Unsupported Transport Protocol",
            Self::PEER_ADDRESS_FAMILY_MISMATCH => "Peer Address Family Mismatch",
            Self::ALLOCATION_QUOTA_REACHED => "Allocation Quota Reached",
            Self::INSUFFICIENT_CAPACITY => "Insufficient Capacity",
            _ => "",
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}
