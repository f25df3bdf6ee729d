//! Address translation: the model's rules in force in the kernel.

pub mod ebpf;
