//! What the TC programs and user space share. `no_std`, tested on the build machine.
#![cfg_attr(target_arch = "bpf", no_std)]
