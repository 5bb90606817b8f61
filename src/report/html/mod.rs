// SPDX-License-Identifier: GPL-2.0-or-later
//! A story as one page for a browser: the interleaving as swim lanes, the page in question beside it.
//!
//! The template escapes what it is given; nothing of a story is marked as safe but the JSON of its
//! steps, which [`json`] makes fit for it.

use super::page::name;
use super::spans::{Kind, Span};
use super::{Frame, Story, json, task};
use crate::trace::Pfn;
use minijinja::{Environment, context};
use serde::Serialize;

/// A row of the table.
#[derive(Serialize)]
struct Row<'s> {
    step: u32,
    class: &'static str,
    page: Option<PageCells>,
    cells: Vec<Cell<'s>>,
}

/// What the page in question says.
#[derive(Serialize)]
struct PageCells {
    /// References, mappings, pins, generation.
    counts: [Count; 4],
    /// The colour of its owner, 0: it is free.
    band: usize,
    /// It has another owner, or is another page, than a step before.
    begins: bool,
    owner: String,
    /// The name that the argument has for it.
    letter: Option<&'static str>,
}

#[derive(Serialize)]
struct Count {
    value: i32,
    changed: bool,
}

/// A task in a step.
#[derive(Serialize, Default)]
struct Cell<'s> {
    bars: Vec<Bar<'s>>,
    /// How many bars there may be.
    width: usize,
    /// A call is under way.
    in_call: bool,
    acts: bool,
    /// The call that begins.
    call: Option<&'s str>,
    func: Option<&'s str>,
    text: Option<&'s str>,
    /// What the call returns that ends.
    ret: Option<&'s str>,
}

/// A piece of a bar.
#[derive(Serialize)]
struct Bar<'s> {
    kind: Kind,
    name: &'s str,
    slot: usize,
    begins: bool,
    ends: bool,
}

/// Colours of owners.
const NR_BANDS: usize = 6;

/// The page.
pub fn page(story: &Story) -> String {
    let mut env = Environment::new();
    env.add_template("page.html", include_str!("page.html")).expect("the template is one");
    let template = env.get_template("page.html").expect("it was added");
    let subject = story.page.map_or("it".into(), |page| format!("pfn {}", Pfn(page.pfn)));
    let values = context! {
        style => include_str!("style.css"),
        script => include_str!("page.js"),
        report => story.report,
        text => story.report.as_ref().map(|report| report.to_string()),
        origins => origins(story),
        rows => rows(story),
        steps => steps(story),
        subject,
        story,
    };
    template.render(values).expect("the template names only what there is")
}

/// What the script knows of each step.
fn steps(story: &Story) -> String {
    #[derive(Serialize)]
    struct Step<'s> {
        step: u32,
        name: String,
        text: Option<&'s str>,
        access: &'s str,
        stack: &'s [Frame],
    }
    let steps = story.steps.iter().map(|s| Step {
        step: s.step,
        name: task(s.task),
        text: s.text.as_deref(),
        access: &s.access,
        stack: &s.stack,
    });
    json::line(&steps.collect::<Vec<_>>())
}

/// Who allocated, freed and pinned the page.
fn origins(story: &Story) -> Vec<minijinja::Value> {
    let origins = story.report.iter().flat_map(|report| &report.origins);
    let value = |o: &super::Origin| {
        let funcs: Vec<&str> = o.funcs.iter().copied().chain([o.call.as_str()]).collect();
        context! { what => o.what, who => task(o.task), step => o.step, funcs }
    };
    origins.map(value).collect()
}

fn rows(story: &Story) -> Vec<Row<'_>> {
    let pages = page_cells(story);
    let rows = story.steps.iter().zip(pages).map(|(step, page)| {
        let class = match (step.here, step.touches) {
            (true, _) => "here",
            (false, true) => "touches",
            (false, false) => "",
        };
        let cells = story.lanes.iter().map(|lane| cell(story, step, lane.task)).collect();
        Row { step: step.step, class, page, cells }
    });
    rows.collect()
}

fn page_cells(story: &Story) -> Vec<Option<PageCells>> {
    let mut owners = Vec::new();
    let mut before = None;
    let (took, now) = story.page.map_or((None, None), |page| (page.took, page.now));
    let cells = |state: super::PageState| {
        let band = match state.owner.is_free() {
            true => 0,
            false => {
                let known = owners.iter().position(|owner| *owner == state.owner);
                let i = known.unwrap_or_else(|| {
                    owners.push(state.owner);
                    owners.len() - 1
                });
                1 + i % NR_BANDS
            }
        };
        let old = before.replace(state);
        let counts = |s: super::PageState| [s.refcount, s.mapcount, s.pincount, s.generation.into()];
        let (new, was) = (counts(state), old.map(counts));
        let count = |i: usize| Count { value: new[i], changed: was.is_some_and(|was| was[i] != new[i]) };
        let letter = match Some(state.generation) {
            generation if took == now || generation.is_none() => None,
            generation if generation == took => Some("A"),
            generation if generation == now && band != 0 => Some("B"),
            _ => None,
        };
        let begins = old.is_none_or(|old| (old.owner, old.generation) != (state.owner, state.generation));
        PageCells { counts: [0, 1, 2, 3].map(count), band, begins, owner: name(state.owner), letter }
    };
    let states: Vec<_> = story.steps.iter().map(|step| step.page).collect();
    let mut cells = cells;
    states.into_iter().map(|state| state.map(&mut cells)).collect()
}

/// A task in a step: its bars, and what it does if it is its step.
fn cell<'s>(story: &'s Story, step: &'s super::Step, task: u8) -> Cell<'s> {
    let is_bar = |span: &&Span| span.task == task && !matches!(span.kind, Kind::Call | Kind::Function);
    let under_way = |span: &&Span| span.task == task && (span.from..=span.to).contains(&step.step);
    let bars = story.spans.iter().filter(is_bar).filter(under_way).map(|span| Bar {
        kind: span.kind,
        name: &span.name,
        slot: span.depth,
        begins: span.from == step.step,
        ends: span.to == step.step,
    });
    let mut calls = story.spans.iter().filter(|span| span.kind == Kind::Call).filter(under_way);
    let call = calls.next();
    let mut cell = Cell { bars: bars.collect(), in_call: call.is_some(), ..Cell::default() };
    if step.task != task {
        return cell;
    }
    cell.acts = true;
    cell.width = story.spans.iter().filter(is_bar).map(|span| span.depth + 1).max().unwrap_or(0);
    cell.call = call.filter(|call| call.from == step.step).map(|call| call.name.as_str());
    cell.ret = call.filter(|call| call.to == step.step).and_then(|call| call.ret.as_deref());
    cell.func = step.stack.first().map(|frame| frame.func);
    // What begins a call is named by it.
    let plain = (cell.call.is_none() || cell.func.is_some()).then_some(step.access.as_str());
    cell.text = step.text.as_deref().or(plain);
    cell
}
