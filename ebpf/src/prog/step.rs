//! Steps: what the programs are made of, each gone through by the verifier once a program.
//!
//! To the verifier a step is a global function (`btf_prepare_func_args` in kernel/bpf/btf.c): all that it knows there are
//! the context and numbers, and all that it knows of the answer is that it is a number. Into other functions it follows
//! every path of every caller, which took ten times as long. So a step looks up its [`Work`](super::Work) by itself, and
//! who takes steps holds none meanwhile.

use netctl_ebpf::reason::DropReason;

use super::{Verdict, Work, maps};

/// What a step says, as a number.
pub(crate) trait Answer: Sized {
    /// That there is no [`Work`](super::Work), which cannot be.
    const NO_WORK: Self;

    /// The number.
    fn number(self) -> u32;

    /// What the number says.
    fn of(number: u32) -> Self;
}

const NO: u32 = 0;
const YES: u32 = 1;
const TRANSLATE: u32 = 1;
const TRANSLATE_ERROR: u32 = 2;
const NOT_OURS: u32 = 3;
/// And all above it: for this reason.
const DROP: u32 = 4;

#[inline(always)]
fn drop(reason: DropReason) -> u32 {
    DROP + reason as u32
}

#[inline(always)]
fn reason(number: u32) -> DropReason {
    DropReason::of(number.wrapping_sub(DROP)).unwrap_or(DropReason::Malformed)
}

/// A number that is one already.
impl Answer for u8 {
    const NO_WORK: Self = 0;

    #[inline(always)]
    fn number(self) -> u32 {
        self.into()
    }

    #[inline(always)]
    fn of(number: u32) -> Self {
        number as Self
    }
}

impl Answer for () {
    const NO_WORK: Self = ();

    #[inline(always)]
    fn number(self) -> u32 {
        NO
    }

    #[inline(always)]
    fn of(_: u32) -> Self {}
}

impl Answer for bool {
    const NO_WORK: Self = false;

    #[inline(always)]
    fn number(self) -> u32 {
        if self { YES } else { NO }
    }

    #[inline(always)]
    fn of(number: u32) -> Self {
        number != NO
    }
}

/// Whether something is done, or why the packet is dropped.
impl Answer for Result<bool, DropReason> {
    const NO_WORK: Self = Err(DropReason::Malformed);

    #[inline(always)]
    fn number(self) -> u32 {
        match self {
            Ok(done) => done.number(),
            Err(reason) => drop(reason),
        }
    }

    #[inline(always)]
    fn of(number: u32) -> Self {
        if number < DROP { Ok(bool::of(number)) } else { Err(reason(number)) }
    }
}

impl Answer for Result<(), DropReason> {
    const NO_WORK: Self = Err(DropReason::Malformed);

    #[inline(always)]
    fn number(self) -> u32 {
        self.map(|()| true).number()
    }

    #[inline(always)]
    fn of(number: u32) -> Self {
        if number < DROP { Ok(()) } else { Err(reason(number)) }
    }
}

impl Answer for Verdict {
    const NO_WORK: Self = Self::Drop(DropReason::Malformed);

    #[inline(always)]
    fn number(self) -> u32 {
        match self {
            Self::Translate => TRANSLATE,
            Self::TranslateError => TRANSLATE_ERROR,
            Self::NotOurs => NOT_OURS,
            Self::Drop(reason) => drop(reason),
        }
    }

    #[inline(always)]
    fn of(number: u32) -> Self {
        match number {
            TRANSLATE => Self::Translate,
            TRANSLATE_ERROR => Self::TranslateError,
            NOT_OURS => Self::NotOurs,
            _ => Self::Drop(reason(number)),
        }
    }
}

/// `None` leaves it to the next step.
impl Answer for Option<Verdict> {
    const NO_WORK: Self = Some(Verdict::NO_WORK);

    #[inline(always)]
    fn number(self) -> u32 {
        self.map_or(NO, Verdict::number)
    }

    #[inline(always)]
    fn of(number: u32) -> Self {
        if number == NO { None } else { Some(Verdict::of(number)) }
    }
}

/// A look at the [`Work`] between two steps, which may save one.
#[inline(always)]
pub(crate) fn is(look: impl FnOnce(&Work) -> bool) -> bool {
    maps::work().is_some_and(|work| look(work))
}

/// Makes a step: `NAME as SYMBOL(ctx, work, NUMBER: TYPE, ..) -> ANSWER { .. }` is taken by `NAME(ctx, NUMBER, ..)`.
macro_rules! step {
    (
        $(#[$doc:meta])*
        $name:ident as $symbol:ident($ctx:ident, $work:ident $(, $number:ident: $type:ty)*) -> $answer:ty $body:block
    ) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(ctx: &aya_ebpf::programs::TcContext $(, $number: $type)*) -> $answer {
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $symbol(skb: *mut aya_ebpf::bindings::__sk_buff $(, $number: u32)*) -> u32 {
                #[inline(always)]
                fn step(
                    $ctx: &aya_ebpf::programs::TcContext,
                    $work: &mut $crate::prog::Work
                    $(, $number: $type)*
                ) -> $answer $body

                use $crate::prog::step::Answer;
                let answer = match $crate::prog::maps::work() {
                    // The compiler leaves out what is never looked at, and the verifier insists on it.
                    Some(work) if !skb.is_null() => {
                        step(&aya_ebpf::programs::TcContext::new(skb), work $(, <$type as Answer>::of($number))*)
                    }
                    _ => <$answer as Answer>::NO_WORK,
                };
                answer.number()
            }
            use $crate::prog::step::Answer;
            <$answer as Answer>::of($symbol(ctx.skb.skb $(, $number.number())*))
        }
    };
}

pub(crate) use step;
