//! A component: its native code, checked against the contract before anything uses it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component as Code, Linker};

use super::binary::{self, Outline};
use super::bindings::PluginPre;
use super::cache::{Cache, Native};
use super::compile::{Compile, Work};
use super::engine::{Engine, compatibility, lock};
use super::error::LoadError;
use super::host::{self, Host};
use super::limits::Limits;
use super::wasi;

/// The interface that every plugin exports, without its version.
const TRANSFORMER: &str = "xylem:plugin/transformer";

/// A loaded component that fits the contract, ready for instances.
pub struct Component {
    pub(super) engine: Engine,
    pub(super) pre: PluginPre<Host>,
    digest: String,
    withheld: Vec<String>,
}

impl Component {
    /// The first 16 hex digits of the component's BLAKE3 hash.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The packages of WASI that it imports and gets nothing of, such as `wasi:sockets`. Many toolchains import
    /// them unused.
    pub fn withheld(&self) -> &[String] {
        &self.withheld
    }
}

/// What a component looks like from outside, for `xylem inspect`.
#[derive(Clone, Debug)]
pub struct Report {
    /// The first 16 hex digits of the component's BLAKE3 hash.
    pub digest: String,
    /// Sizes and producers.
    pub outline: Outline,
    /// The native code, in bytes.
    pub native_bytes: u64,
    /// Everything it imports.
    pub imports: Vec<Import>,
    /// Everything it exports, by name.
    pub exports: Vec<String>,
    /// Why it is no plugin of this host, where it is none.
    pub refusal: Option<String>,
}

/// One thing that a component imports.
#[derive(Clone, Debug)]
pub struct Import {
    /// Its name.
    pub name: String,
    /// What the component gets of it.
    pub given: &'static str,
}

/// Native code in the cache.
#[derive(Clone, Debug)]
pub struct Precompiled {
    /// The first 16 hex digits of the component's BLAKE3 hash.
    pub digest: String,
    /// The native code, in bytes.
    pub native_bytes: u64,
    /// Where it is.
    pub file: PathBuf,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// Loads components: from the cache where it can, through the compiler where it must.
pub struct Loader {
    engine: Engine,
    cache: Cache,
    compile: Compile,
    give_up: Arc<AtomicBool>,
    /// Components in use, so that another mapping of a plugin shares its code.
    loaded: Mutex<HashMap<(String, usize), Weak<Component>>>,
}

impl Loader {
    /// A loader; keeps native code in `cache`.
    pub fn new(engine: Engine, cache: Cache, compile: Compile) -> Self {
        Self { engine, cache, compile, give_up: Arc::default(), loaded: Mutex::default() }
    }

    /// While this is true, whoever loads does not want to wait: a compilation on its way is given up.
    pub fn give_up(&self) -> &Arc<AtomicBool> {
        &self.give_up
    }

    /// Loads the component `name` and checks that it is a plugin. Blocks while it is compiled. Of
    /// the limits only the stack matters here.
    pub fn load(
        &self,
        name: &str,
        wasm: &[u8],
        limits: &Limits,
    ) -> Result<Arc<Component>, LoadError> {
        let hash = blake3::hash(wasm).to_hex();
        let key = (hash.to_string(), limits.max_stack_bytes);
        if let Some(component) = lock(&self.loaded).get(&key).and_then(Weak::upgrade) {
            return Ok(component);
        }
        let engine = self.wasmtime(name, limits.max_stack_bytes)?;
        let (code, _) = self.code(name, wasm, &engine)?;
        let component = Arc::new(Component {
            engine: self.engine.clone(),
            pre: check(name, &code)?,
            digest: digest(&key.0),
            withheld: withheld(&code),
        });
        let mut loaded = lock(&self.loaded);
        loaded.retain(|_, held| held.strong_count() > 0);
        loaded.insert(key, Arc::downgrade(&component));
        Ok(component)
    }

    /// Compiles the component `name` into the cache, unless it is there, and checks that it is a
    /// plugin.
    pub fn precompile(&self, name: &str, wasm: &[u8]) -> Result<Precompiled, LoadError> {
        let engine = self.wasmtime(name, Limits::default().max_stack_bytes)?;
        let key = key(wasm, &engine);
        let is_new = self.cache.find(&key).is_none();
        let (code, native_bytes) = self.code(name, wasm, &engine)?;
        check(name, &code)?;
        let native = self.cache.find(&key).ok_or_else(|| self.cache.unwritable())?;
        let file = native.path().to_owned();
        Ok(Precompiled { digest: digest(&key), native_bytes, file, is_new })
    }

    /// Describes the component `name`, plugin or not.
    pub fn inspect(&self, name: &str, wasm: &[u8]) -> Result<Report, LoadError> {
        let outline = binary::outline(name, wasm)?;
        let engine = self.wasmtime(name, Limits::default().max_stack_bytes)?;
        let (code, native_bytes) = self.code(name, wasm, &engine)?;
        let ty = code.component_type();
        Ok(Report {
            digest: digest(&blake3::hash(wasm).to_hex()),
            outline,
            native_bytes,
            imports: ty
                .imports(&engine)
                .map(|(import, item)| describe(&engine, import, &item.ty))
                .collect(),
            exports: ty.exports(&engine).map(|(export, _)| export.to_owned()).collect(),
            refusal: check(name, &code).err().map(|error| error.to_string()),
        })
    }

    /// Maps the native code of a component, compiling it where the cache has none; says its size.
    fn code(
        &self,
        name: &str,
        wasm: &[u8],
        engine: &wasmtime::Engine,
    ) -> Result<(Code, u64), LoadError> {
        let key = key(wasm, engine);
        let mapped = |native: &Native| Ok((native.map(|path| map(engine, path))?, native.len()));
        if let Some(native) = self.cache.find(&key) {
            match mapped(&native) {
                Ok(mapped) => return Ok(mapped),
                // It is whole and ours, so this is a wasmtime that changed its mind.
                Err(error) => tracing::warn!(%error, "native code in the cache is not used"),
            }
        }
        let outline = binary::outline(name, wasm)?;
        let stale = self.cache.is_stale(&blake3::hash(wasm).to_hex());
        if stale {
            let cache = self.cache.directory().display();
            tracing::warn!(name, %cache, "the cache has native code for another release or processor");
        }
        let file = self.cache.begin()?;
        let work =
            Work { name, wasm, outline: &outline, file: file.path(), give_up: &self.give_up };
        self.compile.run(&work).map_err(|error| error.stale(stale))?;
        let native = self.cache.keep(file, &key)?;
        mapped(&native).map_err(|error: wasmtime::Error| native_error(name, error))
    }

    /// The wasmtime engine for a stack.
    fn wasmtime(&self, name: &str, stack: usize) -> Result<wasmtime::Engine, LoadError> {
        self.engine.with_stack(stack).map_err(|error| native_error(name, error))
    }
}

/// The name of a component's native code.
fn key(wasm: &[u8], engine: &wasmtime::Engine) -> String {
    format!("{}-{}", blake3::hash(wasm).to_hex(), compatibility(engine))
}

/// A component's short digest.
fn digest(hex: &str) -> String {
    hex.chars().take(16).collect()
}

/// Maps native code from a file that [`Cache`] answers for.
#[expect(
    unsafe_code,
    reason = "native code is mapped; the cache takes only files that this program \
    wrote, checks who can write them and their checksum, and never changes one"
)]
fn map(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Code> {
    // SAFETY: the file was written by `Compile` with `precompile_component` and by nobody else, see
    // `Cache::find`; it is replaced by renaming only, and `Native::map` names the one that was checked.
    let code = unsafe { Code::deserialize_file(engine, path) }?;
    code.initialize_copy_on_write_image()?;
    Ok(code)
}

/// An error of wasmtime on code or settings of ours.
fn native_error(name: &str, error: wasmtime::Error) -> LoadError {
    LoadError::Native { name: name.to_owned(), source: error.into() }
}

/// Says what a component gets of an import.
fn describe(engine: &wasmtime::Engine, name: &str, item: &ComponentItem) -> Import {
    let given = match wasi::interface(name) {
        Some(interface) => wasi::given(interface),
        None if is_logging(name) => "lines for the operator",
        None if has_only_types(engine, item) => "types",
        None => "refused: no plugin has it",
    };
    Import { name: name.to_owned(), given }
}

/// The packages of WASI of which a component gets nothing.
fn withheld(code: &Code) -> Vec<String> {
    let ty = code.component_type();
    let interfaces = ty.imports(code.engine()).filter_map(|(import, _)| wasi::interface(import));
    let packages: BTreeSet<&str> = interfaces.filter_map(wasi::withheld).collect();
    packages.into_iter().map(str::to_owned).collect()
}

/// Whether an import is the one interface of ours.
fn is_logging(import: &str) -> bool {
    import.starts_with("xylem:plugin/logging@")
}

/// Checks a component against the contract and links what it imports.
fn check(name: &str, code: &Code) -> Result<PluginPre<Host>, LoadError> {
    let engine = code.engine();
    let ty = code.component_type();
    let contract = |difference: String| LoadError::Contract { name: name.to_owned(), difference };
    let mut linker = Linker::<Host>::new(engine);
    let mut foreign = Vec::new();
    for (import, item) in ty.imports(engine) {
        let linked = if wasi::interface(import).is_some() {
            linker.instance(import).and_then(|mut instance| wasi::link(&mut instance, code, import))
        } else if is_logging(import) || has_only_types(engine, &item.ty) {
            Ok(())
        } else {
            foreign.push(format!("`{import}`"));
            Ok(())
        };
        linked.map_err(|error| contract(format!("{error:#}")))?;
    }
    if !foreign.is_empty() {
        return Err(LoadError::Imports { name: name.to_owned(), imports: foreign.join(", ") });
    }
    host::add_logging(&mut linker).map_err(|error| native_error(name, error))?;
    check_exports(engine, code).map_err(contract)?;
    let pre = linker.instantiate_pre(code).and_then(PluginPre::new);
    pre.map_err(|error| contract(format!("{error:#}")))
}

/// Whether an import needs nothing at run time.
fn has_only_types(engine: &wasmtime::Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::ComponentInstance(items) => {
            items.exports(engine).all(|(_, part)| matches!(part.ty, ComponentItem::Type(_)))
        }
        ComponentItem::Type(_) => true,
        _ => false,
    }
}

/// Says which version of the contract a component exports, where it is not ours. wasmtime's own
/// check of the types follows.
fn check_exports(engine: &wasmtime::Engine, code: &Code) -> Result<(), String> {
    let ty = code.component_type();
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let version =
        |export: &str| export.strip_prefix(TRANSFORMER)?.strip_prefix('@').map(str::to_owned);
    match exports.iter().find_map(|export| version(export)) {
        Some(version) if version == "0.1.0" => Ok(()),
        Some(version) => Err(format!(
            "it exports `{TRANSFORMER}` of version {version}, this host has version 0.1.0"
        )),
        None => Err(format!(
            "it does not export `{TRANSFORMER}@0.1.0` but {}",
            match exports.as_slice() {
                [] => "nothing".to_owned(),
                names => format!("`{}`", names.join("`, `")),
            }
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::WASMTIME;

    #[test]
    fn the_release_named_in_errors_is_the_one_in_use() {
        let lock = include_str!("../../../Cargo.lock");
        let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap();
        assert!(after.starts_with(&format!("{WASMTIME}.")));
    }
}
