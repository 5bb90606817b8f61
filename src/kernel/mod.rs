// SPDX-License-Identifier: GPL-2.0-or-later
//! What every kernel has: tasks and their steps, schedules, locks, interrupts, RCU, deferred work.
//!
//! One `.await` on a primitive is one step that another CPU, a device or a lockless reader can see;
//! code without `.await` is atomic.

mod errno;
mod locking;
mod machine;
mod pending;
mod rcu;
pub(crate) mod sched;
mod smp;
mod step;
mod turn;
mod wait;
mod workqueue;

pub use errno::Errno;
pub use locking::{LockClass, lock_class, lock_name};
pub use machine::{KernelTask, Machine, TaskId, task_name};

pub(crate) use locking::*;
pub(crate) use machine::Entered;
pub(crate) use pending::{Draw, Override, Wait};
pub(crate) use rcu::*;
pub(crate) use smp::*;
pub(crate) use step::Touch;
pub(crate) use turn::{Onlooker, Turn};
pub(crate) use wait::*;
pub(crate) use workqueue::*;

/// Names the modelled function for call traces: first statement of its body.  With `for_caller`, what
/// goes wrong in it is its caller's doing ([`crate::trace::FuncDesc::for_caller`]).
macro_rules! enter {
    ($k:expr) => {
        $crate::kernel::enter!($k, false);
    };
    ($k:expr, for_caller) => {
        $crate::kernel::enter!($k, true);
    };
    ($k:expr, $for_caller:literal) => {
        fn here() -> &'static str {
            std::any::type_name_of_val(&here)
        }
        static FUNC: $crate::trace::FuncDesc = $crate::trace::FuncDesc {
            path: $crate::trace::FuncPath::Item(here),
            site: $crate::trace::Site::here(),
            for_caller: $for_caller,
        };
        let _entered = $crate::kernel::Entered::new($k, $crate::trace::Func(&FUNC));
    };
}
pub(crate) use enter;
