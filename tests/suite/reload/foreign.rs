//! Somebody else's programs at the hooks of netctl's.

use std::{ffi::CString, os::unix::ffi::OsStrExt as _, path::PathBuf};

use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, links::FdLink, tc::TcAttachOptions};
use netctl_tests::lab::Lab;

pub(super) const HOOKS: [TcAttachType; 2] = [TcAttachType::Ingress, TcAttachType::Egress];

/// Attaches a program that does nothing before and after those at each hook of an interface.
pub(crate) fn surround(lab: &Lab, place: &str, interface: &str) {
    lab.ns(place).enter(|| {
        for (hook, attach_type) in HOOKS.into_iter().enumerate() {
            for (name, order) in [("first", LinkOrder::first()), ("last", LinkOrder::last())] {
                let pin = format!("/sys/fs/bpf/{name}-{hook}");
                load(&pin);
                let mut program = SchedClassifier::from_pin(&pin).unwrap();
                let order = TcAttachOptions::TcxOrder(order);
                let id = program.attach_with_options(interface, attach_type, order).unwrap();
                let link: FdLink = program.take_link(id).unwrap().try_into().unwrap();
                link.pin(PathBuf::from(format!("{pin}-link"))).unwrap();
            }
        }
    });
}

/// The names of the programs at each hook of an interface, in their order.
pub(super) fn order(lab: &Lab, place: &str, interface: &str) -> [Vec<String>; 2] {
    lab.ns(place).enter(|| {
        HOOKS.map(|attach_type| {
            let (_, programs) = SchedClassifier::query_tcx(interface, attach_type).unwrap();
            programs.iter().map(|program| program.name_as_str().unwrap().to_owned()).collect()
        })
    })
}

/// Loads `return TC_ACT_UNSPEC` as `foreign`, and pins it.
fn load(pin: &str) {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_OBJ_PIN: libc::c_int = 6;
    const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
    /// `r0 = -1; exit`
    const PROGRAM: [u64; 2] = [0xffff_ffff_0000_00b7, 0x0000_0000_0000_0095];
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log: [u64; 2],
        version: u32,
        flags: u32,
        name: [u8; 16],
    }
    #[repr(C)]
    struct Pin {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let load = Load {
        kind: BPF_PROG_TYPE_SCHED_CLS,
        count: 2,
        instructions: PROGRAM.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log: [0; 2],
        version: 0,
        flags: 0,
        name: *b"foreign\0\0\0\0\0\0\0\0\0",
    };
    // SAFETY: the command's own struct with its size; what it points to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    let path = CString::new(std::path::Path::new(pin).as_os_str().as_bytes()).unwrap();
    let attributes = Pin { path: path.as_ptr() as u64, fd: fd as u32, flags: 0 };
    // SAFETY: as above.
    let pinned =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_PIN, &raw const attributes, size_of::<Pin>()) };
    assert!(pinned >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: this function's own descriptor.
    unsafe { libc::close(fd as i32) };
}
