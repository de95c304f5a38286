//! WASI 0.2 with nothing granted.
//!
//! Every toolchain makes components that import WASI, mostly without using it. The functions here
//! give the emptiest answer that their type allows: no arguments, no environment, no files, no
//! terminal; every operation that can refuse refuses. They are made from the component's own
//! import types, so any interface of any 0.2 version links.
//!
//! What has an answer of its own: stdout and stderr go to a bounded buffer; clocks stand still at
//! 2025-01-01T00:00:00Z; random numbers are the same at every call, since nothing may depend on what
//! a guest did before; a timer is ready at once, so nothing blocks, and a poll of nothing
//! traps; `exit` traps.

use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{
    Component, ComponentType, LinkerInstance, Lower, Resource, ResourceType, Val, WasmList,
};
use wasmtime::{StoreContextMut, bail};

use super::host::{Ended, Host};

/// The wall clock, in seconds since 1970: 2025-01-01T00:00:00Z.
const WALL_SECONDS: u64 = 1_735_689_600;

/// The monotonic clock, in nanoseconds. Go refuses to start at zero.
const MONOTONIC_NANOSECONDS: u64 = 1_000_000_000;

/// What stdout and stderr say they take at once, in bytes.
const WRITABLE_BYTES: u64 = 64 * 1024;

/// The most random bytes that one call gives.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// Begins the constant random numbers.
const SEED: u64 = 0x7879_6c65_6d00_0001;

/// How the interfaces of WASI refuse, best word first.
const REFUSALS: [&str; 6] =
    ["access-denied", "not-permitted", "access", "HTTP-request-denied", "closed", "not-supported"];

/// The one type of host resource: streams, pollables, networks and all the rest.
enum Thing {}

/// The representation of every thing but the output streams.
const INERT: u32 = 0;
/// The representation of stdout and stderr.
const OUTPUT: u32 = 1;

/// `wasi:io/streams.stream-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    /// Never given.
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "the type has to be whole")]
    LastOperationFailed(Resource<Thing>),
    /// Given by streams that are not stdout or stderr.
    #[component(name = "closed")]
    Closed,
}

/// The interface's name without its version, where `import` is an interface of WASI 0.2.
pub(super) fn interface(import: &str) -> Option<&str> {
    let (interface, version) = import.split_once('@')?;
    (interface.starts_with("wasi:") && version.starts_with("0.2.")).then_some(interface)
}

/// What a component gets of an interface, for people.
pub(super) fn given(interface: &str) -> &'static str {
    match interface {
        "wasi:cli/stdout" | "wasi:cli/stderr" => "kept for the dead letter, at most 8 KiB a call",
        "wasi:cli/stdin" => "closed",
        "wasi:cli/environment" => "no arguments, no variables",
        "wasi:cli/exit" => "traps",
        "wasi:io/poll" => "always ready, never blocks",
        "wasi:io/streams" | "wasi:io/error" => "as its origin",
        _ => match interface.split_once('/').map(|(package, _)| package) {
            Some("wasi:clocks") => "stands still at 2025-01-01T00:00:00Z",
            Some("wasi:random") => "the same numbers at every call",
            Some("wasi:filesystem") => "no files",
            Some("wasi:cli") => "nothing",
            _ => "every operation refuses",
        },
    }
}

/// The package of an interface of which a component gets nothing: files, the network, and what else there is.
pub(super) fn withheld(interface: &str) -> Option<&str> {
    let (package, _) = interface.split_once('/')?;
    let is_given = ["wasi:cli", "wasi:io", "wasi:clocks", "wasi:random"].contains(&package);
    (!is_given).then_some(package)
}

/// Defines everything that `component` imports of the interface `import`.
pub(super) fn link(
    instance: &mut LinkerInstance<'_, Host>,
    component: &Component,
    import: &str,
) -> wasmtime::Result<()> {
    let engine = component.engine();
    let ty = component.component_type();
    let (Some(interface), Some(item)) = (interface(import), ty.get_import(engine, import)) else {
        bail!("`{import}` is not an interface of WASI 0.2");
    };
    let ComponentItem::ComponentInstance(items) = item.ty else {
        bail!("`{import}` is not an interface");
    };
    for (name, part) in items.exports(engine) {
        match part.ty {
            ComponentItem::Resource(_) => {
                instance.resource(name, ResourceType::host::<Thing>(), |_, _| Ok(()))?;
            }
            ComponentItem::ComponentFunc(_) => function(instance, interface, name)?,
            _ => {}
        }
    }
    Ok(())
}

/// Defines one function.
fn function(
    instance: &mut LinkerInstance<'_, Host>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<()> {
    match (interface, name) {
        ("wasi:cli/stdout", "get-stdout") | ("wasi:cli/stderr", "get-stderr") => {
            instance.func_wrap(name, |_, (): ()| Ok((Resource::<Thing>::new_own(OUTPUT),)))
        }
        (
            "wasi:io/streams",
            "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush",
        ) => instance.func_wrap(name, |store, params| Ok((write(store, params),))),
        (
            "wasi:random/random" | "wasi:random/insecure",
            "get-random-bytes" | "get-insecure-random-bytes",
        ) => instance.func_wrap(name, |_, (len,): (u64,)| Ok((random_bytes(len)?,))),
        _ => {
            let answer = answer(interface, name);
            instance.func_new(name, move |mut store, ty, params, results| {
                let value = match answer {
                    Answer::Exit => {
                        return store.data_mut().stop(Ended::Exit, "the guest exits".to_owned());
                    }
                    Answer::Nothing => None,
                    Answer::Poll => Some(poll(&mut store, params)?),
                    Answer::Value(value) => Some(value()),
                };
                for param in params {
                    give_back(&mut store, param)?;
                }
                match (value, &mut *results) {
                    (Some(value), [result]) => *result = value,
                    _ => empty_results(&mut store, &ty, results)?,
                }
                Ok(())
            })
        }
    }
}

/// Gives a lent thing back, or drops an owned one: a call that keeps what it was lent traps.
fn give_back(store: &mut StoreContextMut<'_, Host>, value: &Val) -> wasmtime::Result<()> {
    match value {
        Val::Resource(thing) => thing.resource_drop(&mut *store),
        Val::List(values) | Val::Tuple(values) => {
            values.iter().try_for_each(|inner| give_back(store, inner))
        }
        Val::Record(fields) => fields.iter().try_for_each(|(_, inner)| give_back(store, inner)),
        Val::Option(Some(inner))
        | Val::Variant(_, Some(inner))
        | Val::Result(Ok(Some(inner)) | Err(Some(inner))) => give_back(store, inner),
        _ => Ok(()),
    }
}

/// What a function answers.
#[derive(Clone, Copy)]
enum Answer {
    /// The emptiest value of its type.
    Nothing,
    /// This.
    Value(fn() -> Val),
    /// All pollables, or a trap.
    Poll,
    /// A trap.
    Exit,
}

/// The functions for which the emptiest value would be wrong.
fn answer(interface: &str, name: &str) -> Answer {
    match (interface, name) {
        ("wasi:cli/exit", _) => Answer::Exit,
        ("wasi:io/poll", "poll") => Answer::Poll,
        ("wasi:io/poll", "[method]pollable.ready") => Answer::Value(|| Val::Bool(true)),
        ("wasi:io/streams", "[method]output-stream.check-write") => {
            Answer::Value(|| Val::Result(Ok(Some(Box::new(Val::U64(WRITABLE_BYTES))))))
        }
        (
            "wasi:io/streams",
            "[method]output-stream.flush"
            | "[method]output-stream.blocking-flush"
            | "[method]output-stream.write-zeroes"
            | "[method]output-stream.blocking-write-zeroes-and-flush",
        ) => Answer::Value(|| Val::Result(Ok(None))),
        ("wasi:clocks/monotonic-clock", "now") => Answer::Value(|| Val::U64(MONOTONIC_NANOSECONDS)),
        ("wasi:clocks/monotonic-clock", "resolution") => Answer::Value(|| Val::U64(1)),
        ("wasi:clocks/wall-clock", "now") => Answer::Value(|| datetime(WALL_SECONDS, 0)),
        ("wasi:clocks/wall-clock", "resolution") => Answer::Value(|| datetime(0, 1)),
        ("wasi:random/random" | "wasi:random/insecure", _) => Answer::Value(|| Val::U64(random(0))),
        ("wasi:random/insecure-seed", _) => {
            Answer::Value(|| Val::Tuple(vec![Val::U64(random(0)), Val::U64(random(1))]))
        }
        _ => Answer::Nothing,
    }
}

/// Writes to stdout or stderr.
fn write(
    mut store: StoreContextMut<'_, Host>,
    (stream, bytes): (Resource<Thing>, WasmList<u8>),
) -> Result<(), StreamError> {
    if stream.rep() != OUTPUT {
        return Err(StreamError::Closed);
    }
    // Taken out for the while: the bytes are the store's own.
    let mut output = std::mem::take(&mut store.data_mut().output);
    output.push(bytes.as_le_slice(&store));
    store.data_mut().output = output;
    Ok(())
}

/// Says that all pollables are ready: those that can be had are timers, stdin (closed), stdout and
/// stderr.
fn poll(store: &mut StoreContextMut<'_, Host>, params: &[Val]) -> wasmtime::Result<Val> {
    match params {
        [Val::List(pollables)] if !pollables.is_empty() => {
            Ok(Val::List((0..).zip(pollables).map(|(at, _)| Val::U32(at)).collect()))
        }
        _ => store.data_mut().stop(Ended::Blocked, "the guest polls nothing".to_owned()),
    }
}

/// A `datetime`.
fn datetime(seconds: u64, nanoseconds: u32) -> Val {
    Val::Record(vec![
        ("seconds".to_owned(), Val::U64(seconds)),
        ("nanoseconds".to_owned(), Val::U32(nanoseconds)),
    ])
}

/// The random number at a place in the constant sequence (splitmix64).
fn random(at: u64) -> u64 {
    let mut z = SEED.wrapping_add((at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The first `len` bytes of the constant sequence.
fn random_bytes(len: u64) -> wasmtime::Result<Vec<u8>> {
    if len > MAX_RANDOM_BYTES {
        bail!("the guest asks for {len} random bytes at once, the limit is {MAX_RANDOM_BYTES}");
    }
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|at| random(at).to_le_bytes()).collect();
    bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    Ok(bytes)
}

/// Fills in the emptiest values of a function's result types.
fn empty_results(
    store: &mut StoreContextMut<'_, Host>,
    ty: &ComponentFunc,
    results: &mut [Val],
) -> wasmtime::Result<()> {
    for (result, of) in results.iter_mut().zip(ty.results()) {
        *result = empty(store, &of)?;
    }
    Ok(())
}

/// The emptiest value of a type: zero, nothing, a refusal, a thing that does nothing.
fn empty(store: &mut StoreContextMut<'_, Host>, ty: &Type) -> wasmtime::Result<Val> {
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::S8 => Val::S8(0),
        Type::U8 => Val::U8(0),
        Type::S16 => Val::S16(0),
        Type::U16 => Val::U16(0),
        Type::S32 => Val::S32(0),
        Type::U32 => Val::U32(0),
        Type::S64 => Val::S64(0),
        Type::U64 => Val::U64(0),
        Type::Float32 => Val::Float32(0.0),
        Type::Float64 => Val::Float64(0.0),
        Type::Char => Val::Char('\0'),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Record(record) => Val::Record(
            record
                .fields()
                .map(|field| Ok((field.name.to_owned(), empty(store, &field.ty)?)))
                .collect::<wasmtime::Result<_>>()?,
        ),
        Type::Tuple(tuple) => Val::Tuple(
            tuple.types().map(|part| empty(store, &part)).collect::<wasmtime::Result<_>>()?,
        ),
        Type::Enum(names) => Val::Enum(refusal(names.names()).unwrap_or_default().to_owned()),
        Type::Variant(variant) => {
            let bare = variant.cases().filter(|case| case.ty.is_none()).map(|case| case.name);
            match refusal(bare) {
                Some(name) => Val::Variant(name.to_owned(), None),
                None => bail!("a refusal of this type is not known"),
            }
        }
        Type::Result(result) => Val::Result(Err(match result.err() {
            Some(err) => Some(Box::new(empty(store, &err)?)),
            None => None,
        })),
        Type::Own(_) => {
            let thing = Resource::<Thing>::new_own(INERT);
            Val::Resource(thing.try_into_resource_any(store)?)
        }
        _ => bail!("WASI 0.2 has no such type"),
    })
}

/// The best word of a refusal among names, else the first.
fn refusal<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let names: Vec<&str> = names.collect();
    let best = REFUSALS.iter().find_map(|word| names.iter().find(|name| *name == word));
    best.or(names.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wasi_0_2_links() {
        assert_eq!(interface("wasi:io/poll@0.2.12"), Some("wasi:io/poll"));
        assert_eq!(interface("wasi:io/poll@0.3.0"), None);
        assert_eq!(interface("wasi:io/poll"), None);
        assert_eq!(interface("other:io/poll@0.2.0"), None);
    }

    #[test]
    fn random_bytes_are_the_same_at_every_call() {
        let long = random_bytes(20).unwrap();
        assert_eq!(long.len(), 20);
        assert_eq!(random_bytes(3).unwrap(), long[..3]);
        assert_eq!(long[..8], random(0).to_le_bytes());
        assert!(random_bytes(MAX_RANDOM_BYTES + 1).is_err());
    }

    #[test]
    fn a_refusal_says_so_where_its_type_lets_it() {
        let pick = |names: &[&'static str]| refusal(names.iter().copied());
        assert_eq!(pick(&["unknown", "access-denied"]), Some("access-denied"));
        assert_eq!(pick(&["access", "not-permitted"]), Some("not-permitted"));
        assert_eq!(pick(&["one", "two"]), Some("one"));
        assert_eq!(pick(&[]), None);
    }
}
