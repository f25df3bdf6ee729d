//! Where netctl is meant to differ from netfilter: each place has a number and a reason. In each the model says what netctl
//! must do instead, so nothing goes unchecked.

macro_rules! known {
    ($($name:ident = $number:literal: $reason:literal;)+) => {
        /// A reason why netfilter may do otherwise than the model and netctl.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each has its reason in words")]
        pub enum Known {
            $($name = $number,)+
        }

        impl Known {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its number, as documented.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// Why.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason),+ }
            }
        }
    };
}

known! {
    Leak = 1: "netfilter does not translate what it takes for invalid; netctl does, or drops it";
    Mapping = 3: "netfilter gives a source the port again that it has for another peer; netctl its own, if that is free";
    Hairpin = 4: "netctl hairpins every caller on the inside, the rule given to netfilter those of its network";
    Tracking = 5: "netctl passes every segment of a known connection, whatever its flags";
    Stale = 6: "a forward that is removed takes its flows along; netfilter's go on until they are idle";
    Reserved = 7: "netctl keeps clients off ports that are forwarded or listened on";
    ErrorSource = 11: "netfilter says some of the gateway's own errors to a client from the outside address";
    Unanswered = 14: "netctl answers no TCP segment that nobody waits for";
    Spoofed = 16: "netctl refuses what cannot come from there, and outside calls to an inside address";
    Stray = 18: "netfilter remembers packets to the gateway itself, and keeps clients off their ports";
    Early = 19: "a forward's flow is made before the kernel finds that the packet can go no further";
    Router = 20: "netfilter hides the router that reports an error to a forward's server if it has changed the client's port";
    Itself = 21: "a server that calls itself from its own port gets another one";
    Short = 22: "of a protocol without ports, netfilter takes a quote of less than the eight bytes that RFC 792 promises";
}
