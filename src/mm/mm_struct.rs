// SPDX-License-Identifier: GPL-2.0-or-later
//! Address spaces, and who may look at which part of one when.
//! Linux: include/linux/mm_types.h struct mm_struct, include/linux/sched/mm.h.
//!
//! ```text
//!   areas                                   mmap_lock; some also the rwsem of their mapping or anon_vma
//!   write_protect_seq, tlb_flush_pending,
//!   mm_users, has_pinned                    lockless: the step has announced them
//!   counters                                blind; nobody reads them before the end
//!   anon_vma, descent                       stay as they are
//! ```

use super::mm_types::*;
use super::mmu_notifier::MmuNotifierSubscriptions;
use super::pgtable::Pmds;
use crate::kernel::{Lock, TaskId, tlb_flush_all};
use crate::limits::*;
use crate::trace::{Access, Pfn, obj};
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::future::Future;

/// An address space.
#[derive(Default)]
pub(crate) struct Mm {
    /// mm_users: tasks that run in it.
    users: Cell<u8>,
    /// mm_count, as far as it is 0 or not: somebody still takes it down; listeners are counted apart.
    alive: Cell<bool>,
    /// Somebody ran in it since boot: if not, it is as it was then.
    pub(super) used: Cell<bool>,
    /// Sorted by start.
    vmas: RefCell<Vec<Vma>>,
    pub(super) pmds: Pmds,
    /// Blind counters, which nobody reads before the address space ends.
    rss_anon: Cell<i32>,
    rss_file: Cell<i32>,
    /// Page tables, in tables.
    pgtables: Cell<i32>,
    tlb_flush_pending: Cell<u8>,
    write_protect_seq: Cell<u32>,
    /// MMF_HAS_PINNED: somebody got pages of it by FOLL_PIN, ever.
    has_pinned: Cell<bool>,
    /// The anon_vma of its areas: the same number in all that descend from one another by fork.
    anon_vma: Cell<u8>,
    /// How many forks lie between it and the first of its family.
    descent: Cell<u8>,
    pub(super) subscriptions: MmuNotifierSubscriptions,
}

/// At boot: one address space, of which every user task is a thread.
pub(super) fn init_mm(k: &Kernel) {
    k.mms[0].used.set(true);
    for mm in k.mms.iter().filter(|mm| mm.used.take()) {
        mm.users.set(0);
        mm.alive.set(false);
        mm.vmas.borrow_mut().clear();
        mm.rss_anon.set(0);
        mm.rss_file.set(0);
        mm.pgtables.set(0);
        mm.tlb_flush_pending.set(0);
        mm.write_protect_seq.set(0);
        mm.has_pinned.set(false);
        mm.anon_vma.set(0);
        mm.descent.set(0);
        mm.subscriptions.reset();
    }
    k.mms[0].used.set(true);
    k.mms[0].users.set(NR_USER_TASKS as u8);
    k.mms[0].alive.set(true);
}

impl Kernel {
    /// task->mm, of a task that is at rest.
    pub(crate) fn task_mm(&self, task: TaskId) -> u8 {
        self.task_mm[task as usize].get()
    }

    /// current->mm: nobody else changes it.
    pub(crate) fn current_mm(&self) -> u8 {
        self.task_mm[self.current() as usize].get()
    }

    /// CPUs whose task runs in an address space.
    pub(crate) fn mm_cpumask(&self, mm: u8) -> u16 {
        self.assert_announced(obj::tlbs(), Access::Read);
        (0..NR_TASKS).filter(|&t| self.task_mm[t].get() == mm).fold(0, |set, t| set | 1 << t)
    }

    /// A task, the current one or one that is at rest, goes to another address space; its CPU forgets the old one's translations.
    pub(crate) fn switch_mm(&self, task: TaskId, mm: u8) {
        tlb_flush_all(self, task);
        self.task_mm[task as usize].set(mm);
    }

    /// Begins an address space, for one user, of the family of `parent` or of one of its own; `None`: all are in use.
    pub(super) fn take_mm(&self, parent: Option<u8>) -> Option<u8> {
        self.assert_announced(obj::mms(), Access::Write);
        let mm = self.mms.iter().position(|mm| !mm.alive.get() && mm.subscriptions.is_unused())?;
        let taken = |family: &u8| self.mms.iter().any(|m| m.alive.get() && m.anon_vma.get() == *family);
        let own = || (0..NR_MMS as u8).find(|family| !taken(family)).expect("no more families than address spaces");
        let (family, descent) = parent.map_or_else(|| (own(), 0), |p| (self.anon_vma(p), self.mm(p).descent.get() + 1));
        let new = &self.mms[mm];
        new.used.set(true);
        new.users.set(1);
        new.alive.set(true);
        new.has_pinned.set(false);
        new.anon_vma.set(family);
        new.descent.set(descent);
        new.subscriptions.reset();
        Some(mm as u8)
    }

    /// Drops a use of an address space; true: that was the last one.
    pub(super) fn mm_users_dec_and_test(&self, mm: u8) -> bool {
        self.assert_announced(obj::mm_users(mm), Access::Write);
        let users = &self.mm(mm).users;
        users.set(users.get() - 1);
        users.get() == 0
    }

    /// A task that has made no call leaves an address space at the end of a run, unless it is the last: no CPU
    /// has seen it there, so this is no step.  False: it is the last.
    pub(crate) fn leave_mm_unseen(&self, task: TaskId) -> bool {
        let users = &self.mm(self.task_mm(task)).users;
        let others = users.get() > 1;
        if others {
            users.set(users.get() - 1);
            self.task_mm[task as usize].set(u8::MAX);
        }
        others
    }

    /// An address space without users ends.
    pub(super) fn free_mm(&self, mm: u8) {
        self.assert_announced(obj::mm_users(mm), Access::Write);
        self.mm(mm).alive.set(false);
    }

    /// mm->tlb_flush_pending.
    pub(crate) fn tlb_flush_pending(&self, mm: u8) -> u8 {
        self.assert_announced(obj::tlb_flush_pending(mm), Access::Read);
        self.mm(mm).tlb_flush_pending.get()
    }

    pub(crate) fn tlb_flush_pending_add(&self, mm: u8, delta: i8) {
        self.assert_announced(obj::tlb_flush_pending(mm), Access::Commute);
        let pending = &self.mm(mm).tlb_flush_pending;
        pending.set(pending.get().wrapping_add_signed(delta));
    }

    /// mm->write_protect_seq: odd while fork write-protects.
    pub(crate) fn write_protect_seq(&self, mm: u8) -> u32 {
        self.assert_announced(obj::write_protect_seq(mm), Access::Read);
        self.mm(mm).write_protect_seq.get()
    }

    /// Begins or ends write protection.
    pub(crate) fn write_protect_seq_inc(&self, mm: u8) {
        self.assert_announced(obj::write_protect_seq(mm), Access::Write);
        let seq = &self.mm(mm).write_protect_seq;
        seq.set(seq.get() + 1);
    }

    /// MMF_HAS_PINNED.
    pub(crate) fn has_pinned(&self, mm: u8) -> bool {
        self.assert_announced(obj::has_pinned(mm), Access::Read);
        self.mm(mm).has_pinned.get()
    }

    /// Sets MMF_HAS_PINNED, for ever.
    #[track_caller]
    pub(crate) fn set_has_pinned(&self, mm: u8) -> impl Future<Output = ()> {
        let flag = &self.mm(mm).has_pinned;
        let access = if flag.get() { Access::Read } else { Access::Write };
        self.step(obj::has_pinned(mm), access, move || flag.set(true))
    }

    /// The anon_vma of an address space's areas.
    pub(crate) fn anon_vma(&self, mm: u8) -> u8 {
        self.mm(mm).anon_vma.get()
    }

    /// Where an address space stands in rmap walks: a child behind its parent.
    pub(super) fn descent(&self, mm: u8) -> u8 {
        self.mm(mm).descent.get()
    }

    /// The area at `start` may hold anonymous pages from here on; nobody takes that back.
    pub(crate) fn set_vma_anon(&self, mm: u8, start: u8) {
        self.assert_held(mmap_lock(mm));
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        vmas.iter_mut().find(|v| v.start == start).expect("the area is in the list").anon_vma = true;
    }

    /// The areas of an address space.
    pub(crate) fn vmas(&self, mm: u8) -> Ref<'_, Vec<Vma>> {
        self.assert_held(mmap_lock(mm));
        self.mm(mm).vmas.borrow()
    }

    /// The areas of an address space, to change them.
    pub(crate) fn vmas_mut(&self, mm: u8) -> RefMut<'_, Vec<Vma>> {
        self.assert_held_write(mmap_lock(mm));
        self.mm(mm).vmas.borrow_mut()
    }

    /// The areas of an address space, of which the caller may look at those that `rwsem` guards: of a
    /// mapping or an anon_vma.
    pub(crate) fn rmap_vmas(&self, rwsem: Lock, mm: u8) -> Ref<'_, Vec<Vma>> {
        self.assert_held(rwsem);
        self.mm(mm).vmas.borrow()
    }
}

/// add_mm_counter() of the counter that a page belongs to.
pub(crate) fn add_mm_counter(k: &Kernel, mm: u8, pfn: Pfn, delta: i32) {
    let n = if k.folio_test_anon(pfn) { &k.mm(mm).rss_anon } else { &k.mm(mm).rss_file };
    n.set(n.get() + delta);
}

/// mm_inc_nr_ptes(), mm_dec_nr_ptes().
pub(crate) fn inc_nr_ptes(k: &Kernel, mm: u8, delta: i32) {
    let n = &k.mm(mm).pgtables;
    n.set(n.get() + delta);
}

/// The address space has ended: anonymous pages, file pages and page tables still counted.  Linux: kernel/fork.c.
pub(crate) fn check_mm(k: &Kernel, mm: u8) -> (i32, i32, i32) {
    let m = k.mm(mm);
    (m.rss_anon.take(), m.rss_file.take(), m.pgtables.take())
}
