//! The allocator of the C library, told what suits a program whose page faults and system calls are dear.

use std::hint::black_box;

/// How much memory is there from the start, in bytes: what all but large cases need. A page that is there for nothing costs a
/// fiftieth of one that is missing.
const READY: usize = 5 << 19;

/// Has all threads share one heap, which never gives memory back, and faults its beginning in at once. Each thread's
/// own heap would be four system calls and a page fault for each of its pages.
///
/// What is larger is mapped on its own, and grows without being copied.
///
/// It only makes things faster: whatever fails is left as it is.
pub fn share() {
    let most = 1 << 30;
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_TOP_PAD, READY as i32),
        (libc::M_TRIM_THRESHOLD, most),
        (libc::M_MMAP_THRESHOLD, 2 * READY as i32),
    ] {
        // SAFETY: mallopt takes two integers. It is called before there is a second thread.
        unsafe { libc::mallopt(parameter, value) };
    }
    let mut room: Vec<u8> = black_box(Vec::with_capacity(READY));
    let page = 4096;
    let lead = room.as_ptr().align_offset(page);
    // SAFETY: the range lies within the allocation, of which nothing else knows, and MADV_POPULATE_WRITE, of Linux 5.14,
    // changes no byte of it.
    unsafe {
        let begin = room.as_mut_ptr().add(lead);
        libc::madvise(begin.cast(), (READY - lead) / page * page, libc::MADV_POPULATE_WRITE);
    }
}
