//! Nobody walks the stack: a panic aborts, and `hack/build` leaves out the tables for it. But the
//! standard library's report of a panic asks for the frames, and brings a reader of debugging
//! information with it, a tenth of the program. These take the place of libunwind, and say that
//! there are none.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK` (Itanium C++ ABI, "Exception Handling", 1.2.1).
const END_OF_STACK: c_int = 5;

/// Calls `trace` for no frame.
// SAFETY: the name is the ABI's, and the program has no other library that defines it.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_trace: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// What only an unwinder calls, or who is called by it.
macro_rules! never {
    ($($name:ident)*) => {$(
        /// Is never called: there are no frames.
        // SAFETY: as above.
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )*};
}

never! {
    _Unwind_Resume _Unwind_GetIP _Unwind_GetIPInfo _Unwind_GetCFA _Unwind_SetIP _Unwind_SetGR
    _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase
    _Unwind_GetDataRelBase _Unwind_FindEnclosingFunction _Unwind_DeleteException
    _Unwind_RaiseException
}
