//! What the kernel is advised about the pages of data keys: with `token::raw`, the only module with `unsafe`.
#![allow(unsafe_code)]

/// Keeps whole pages out of core dumps, and wipes them in children that are forked. A kernel that knows neither, as
/// before Linux 4.14, leaves them as they are.
pub(super) fn keep_out_of_dumps_and_children(pages: &mut [u8]) {
    #[cfg(target_os = "linux")]
    for advice in [rustix::mm::Advice::LinuxDontDump, rustix::mm::Advice::LinuxWipeOnFork] {
        // SAFETY: the memory is that of a slice that lives, in full. Neither advice changes it in this process.
        let _ = unsafe { rustix::mm::madvise(pages.as_mut_ptr().cast(), pages.len(), advice) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = pages;
}
