//! The same loop compiled for several instruction sets: enough for operators that only read, compute a little and write.

/// `versions!(fn name(kernel, argument: Type, …) { body });` makes `fn name(kernel: Kernel, …)`, whose body runs with the vectors of that
/// kernel's instruction set. The body must be safe code, in functions that are `#[inline(always)]`; closures in it are a compiler's choice to inline, and
/// one that is not runs without those vectors.
macro_rules! versions {
    ($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments, reason = "plain loops over several tensors")]
        fn $name(kernel: $crate::int8::Kernel, $($argument: $type),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "plain loops over several tensors")]
            fn body($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "plain loops over several tensors")]
            fn avx2($($argument: $type),*) {
                body($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "plain loops over several tensors")]
            fn avx512($($argument: $type),*) {
                body($($argument),*)
            }

            match kernel {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: operators are only made for kernels that this CPU has.
                $crate::int8::Kernel::Avx2 => unsafe { avx2($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::int8::Kernel::Avx512Vnni => unsafe { avx512($($argument),*) },
                _ => body($($argument),*),
            }
        }
    };
}
pub(crate) use versions;
