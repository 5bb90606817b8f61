// SPDX-License-Identifier: GPL-2.0-or-later
//! Interrupts and inter-processor interrupts.  Linux: kernel/smp.c, arch/x86/mm/tlb.c.
//!
//! A CPU that has interrupts off acts on an IPI when they go on again, and the sender waits for it.

use super::machine::{Machine, TaskId};
use super::pending::Wait;
use super::sched::tasks;
use super::step::Touch;
use crate::arch::{Cpu, TlbEntry};
use crate::fixes::Fix;
use crate::limits::NR_TASKS;
use crate::trace::{Access, Event, Site, obj};
use std::future::Future;

/// Interrupts of this CPU off: no IPI is acted upon, no grace period ends.
#[track_caller]
pub(crate) fn local_irq_save(k: &Machine) -> impl Future<Output = ()> {
    let site = Site::here();
    let task = k.current();
    k.step(obj::irq(task), Access::Write, move || {
        let cpu = k.cpu(task);
        cpu.irqs_off.set(cpu.irqs_off.get() + 1);
        k.emit_at(site, Event::Irq { off: true });
    })
}

/// Interrupts of this CPU on again; belongs to the step before it.
#[track_caller]
pub(crate) fn local_irq_restore(k: &Machine) {
    let cpu = k.cpu(k.current());
    assert!(cpu.irqs_off.get() > 0, "interrupts are on already");
    cpu.irqs_off.set(cpu.irqs_off.get() - 1);
    k.emit(Event::Irq { off: false });
    if cpu.irqs_off.get() == 0 {
        acknowledge(k);
    }
}

pub(crate) fn irqs_disabled(k: &Machine) -> bool {
    k.cpu(k.current()).irqs_off.get() != 0
}

/// An instruction translates and accesses memory in two steps; interrupts are taken behind it.
pub(crate) fn instruction_begin(k: &Machine) {
    k.also.add(obj::irq(k.current()));
    k.cpu(k.current()).in_instruction.set(true);
}

/// The instruction retires.
pub(crate) fn instruction_end(k: &Machine) {
    k.cpu(k.current()).in_instruction.set(false);
    acknowledge(k);
}

/// What this CPU remembers of page `va`.
pub(crate) fn tlb_lookup(k: &Machine, va: u8) -> Option<TlbEntry> {
    k.assert_announced(obj::tlb(k.current()), Access::Read);
    peek_tlb(k, va)
}

/// The same, to announce what an access would touch.
pub(crate) fn peek_tlb(k: &Machine, va: u8) -> Option<TlbEntry> {
    k.cpu(k.current()).tlb.lookup(va.into())
}

/// This CPU remembers a translation of the address space it runs in.
pub(crate) fn tlb_fill(k: &Machine, va: u8, entry: TlbEntry) {
    k.assert_announced(obj::tlb(k.current()), Access::Write);
    k.cpu(k.current()).tlb.fill(va.into(), entry);
}

/// The CPU of a task that goes to another address space forgets the old one's translations.
pub(crate) fn tlb_flush_all(k: &Machine, task: TaskId) {
    k.assert_announced(obj::tlb(task), Access::Write);
    k.cpu(task).tlb.flush_all();
}

/// The CPU acts on what it could not act on before, and whoever waited for it goes on.
fn acknowledge(k: &Machine) {
    let task = k.current();
    k.also.add(obj::irq(task));
    let pages = k.cpu(task).flush_pending.take();
    if pages != 0 {
        k.also.add(obj::tlb(task));
        flush_now(k, task, pages);
    }
    k.ack(task);
}

fn flush_now(k: &Machine, cpu: u8, pages: u64) {
    let tlb = &k.cpu(cpu).tlb;
    if tlb.flush(pages) {
        let (start, end) = (pages.trailing_zeros() as u8, 64 - pages.leading_zeros() as u8);
        k.emit(Event::TlbFlush { cpu, mm: u8::MAX, start, end });
    }
}

/// CPUs of a set for which `test` holds now.
fn cpus_where(k: &Machine, set: u16, test: impl Fn(&Cpu) -> bool) -> u16 {
    tasks(set).filter(|&c| test(k.cpu(c))).fold(0, |mask, c| mask | 1 << c)
}

/// CPUs that have interrupts off now.
fn irqs_off_mask(k: &Machine) -> u16 {
    cpus_where(k, (1 << NR_TASKS) - 1, |cpu| cpu.irqs_off.get() != 0)
}

/// Makes the CPUs that are in `cpumask` at that moment forget the translations of `pages`, and waits until all have.
///
/// By IPI (x86) a CPU does so when its interrupts are on, so that whoever sent it has waited for
/// every interrupts-off section.  By a broadcast instruction (arm64) all do so at once, and only
/// accesses under way are waited for: a GUP-fast may go on.
pub(crate) async fn flush_tlb_others(k: &Machine, cpumask: impl Fn() -> u16, pages: u64) {
    super::enter!(k);
    let all = [Touch::write(obj::tlbs()), Touch::read(obj::irqs()), Touch::default()];
    k.step_on(all, Wait::Ready, || {
        let me = k.current();
        let (ipi, cpumask) = (k.fixed(Fix::TlbFlushIpi), cpumask());
        let others = cpumask & !(1 << me);
        let late = cpus_where(k, others, |cpu| cpu.in_instruction.get() || (ipi && cpu.irqs_off.get() != 0));
        for cpu in tasks(cpumask) {
            if late >> cpu & 1 != 0 {
                let pending = &k.cpu(cpu).flush_pending;
                pending.set(pending.get() | pages);
            } else {
                flush_now(k, cpu, pages);
            }
        }
        k.task(me).acks.set(late);
    })
    .await;
    if k.task(k.current()).acks.get() != 0 {
        wait_acks(k).await;
    }
}

/// Interrupts every other CPU and waits until all have been: those with interrupts off when they are on again.
pub(crate) async fn smp_call_function(k: &Machine) {
    super::enter!(k);
    wait_irqs_on(k).await;
}

/// Waits until every interrupts-off section of now is left.
pub(super) async fn wait_irqs_on(k: &Machine) {
    let busy = k.step(obj::irqs(), Access::Read, || {
        let mask = irqs_off_mask(k) & !(1 << k.current());
        k.task(k.current()).acks.set(mask);
        mask != 0
    });
    if busy.await {
        wait_acks(k).await;
    }
}

/// Waits until every CPU of the task's acks left its interrupts-off section.
#[track_caller]
fn wait_acks(k: &Machine) -> impl Future<Output = ()> {
    k.step_on([Touch::read(obj::irqs()), Touch::default(), Touch::default()], Wait::Acks, || ())
}
