//! A component's outside: is it a component at all, how much code is in it, which tools made it.
//! Reads foreign bytes; never trusts a length.

use std::fmt;

use super::error::LoadError;

/// Components within components: deeper ones are not looked into.
const MAX_DEPTH: usize = 16;

/// The section of a core module that holds functions.
const CORE_CODE: u8 = 10;
/// The section of a component that holds a core module.
const COMPONENT_MODULE: u8 = 1;
/// The section of a component that holds a component.
const COMPONENT_COMPONENT: u8 = 4;
/// The section that tools write for tools, in both.
const CUSTOM: u8 = 0;

/// What a component weighs and who made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The file, in bytes.
    pub bytes: u64,
    /// Functions in all core modules, in bytes: what the compiler has to work on.
    pub code_bytes: u64,
    /// Core modules.
    pub modules: usize,
    /// Languages, compilers and other tools, where they signed.
    pub producers: Vec<Producer>,
}

/// A language or tool that had a part in a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// `language`, `processed-by` or `sdk`.
    pub part: String,
    /// Its name.
    pub name: String,
    /// Its version, if it says one.
    pub version: String,
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version.as_str() {
            "" => f.write_str(&self.name),
            version => write!(f, "{} {version}", self.name),
        }
    }
}

/// Reads the outline of the component `name`, or says what it is instead.
pub(super) fn outline(name: &str, wasm: &[u8]) -> Result<Outline, LoadError> {
    check_head(name, wasm)?;
    let mut outline = Outline { bytes: wasm.len() as u64, ..Outline::default() };
    let mut reader = Reader { bytes: wasm, at: 0 };
    match sections(&mut reader, &mut outline, 0) {
        Some(()) => Ok(outline),
        None => Err(LoadError::Truncated { name: name.to_owned(), at: reader.at, len: wasm.len() }),
    }
}

/// Says what the first bytes are, when they are not a component's.
fn check_head(name: &str, wasm: &[u8]) -> Result<(), LoadError> {
    let foreign = |what: String| Err(LoadError::NotAComponent { name: name.to_owned(), what });
    match wasm {
        [] => foreign("is empty".to_owned()),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => foreign(
            "is a core module, not a component: build for `wasm32-wasip2`, or wrap it with \
             `wasm-tools component new`"
                .to_owned(),
        ),
        [0, b'a', b's', b'm', v0, v1, l0, l1, ..] => foreign(format!(
            "is WebAssembly of version {} and layer {}; components of version 13 and layer 1 are \
             understood",
            u16::from_le_bytes([*v0, *v1]),
            u16::from_le_bytes([*l0, *l1]),
        )),
        [0x7f, b'E', b'L', b'F', ..] => foreign(
            "is native code, which is taken from nobody: give the component it was made from"
                .to_owned(),
        ),
        [b'(', ..] => foreign("is WebAssembly text: assemble it first".to_owned()),
        [0, b'a', b's', b'm', ..] | [0, b'a', b's'] | [0, b'a'] | [0] => {
            foreign(format!("ends after {} bytes", wasm.len()))
        }
        _ => {
            let first = wasm.get(..4).unwrap_or(wasm);
            foreign(format!("is not WebAssembly: it begins with the bytes {first:02x?}"))
        }
    }
}

/// Walks the sections of a component or core module, its head included. None where it is cut off.
fn sections(reader: &mut Reader<'_>, outline: &mut Outline, depth: usize) -> Option<()> {
    let is_component = reader.take(8)?.get(6) == Some(&1);
    while !reader.is_at_end() {
        let id = reader.byte()?;
        let size = reader.leb()?;
        let section = reader.take(size)?;
        // A section may end early inside without being cut off: the compiler says so better.
        let mut inside = Reader { bytes: section, at: 0 };
        let is_nested = matches!(id, COMPONENT_MODULE | COMPONENT_COMPONENT);
        if is_component && is_nested && depth < MAX_DEPTH {
            outline.modules += usize::from(id == COMPONENT_MODULE);
            sections(&mut inside, outline, depth + 1);
        } else if !is_component && id == CORE_CODE {
            outline.code_bytes += size as u64;
        } else if id == CUSTOM && inside.name().as_deref() == Some("producers") {
            producers(&mut inside, outline);
        }
    }
    Some(())
}

/// Reads a `producers` section, as far as it can be read.
fn producers(reader: &mut Reader<'_>, outline: &mut Outline) -> Option<()> {
    /// Signatures that are kept.
    const MAX_PRODUCERS: usize = 64;
    for _ in 0..reader.leb()? {
        let part = reader.name()?;
        for _ in 0..reader.leb()? {
            let producer =
                Producer { part: part.clone(), name: reader.name()?, version: reader.name()? };
            if outline.producers.len() < MAX_PRODUCERS && !outline.producers.contains(&producer) {
                outline.producers.push(producer);
            }
        }
    }
    Some(())
}

/// A place in foreign bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// An unsigned LEB128 of at most 32 bits.
    fn leb(&mut self) -> Option<usize> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).ok();
            }
        }
        None
    }

    fn name(&mut self) -> Option<String> {
        let len = self.leb()?;
        Some(String::from_utf8_lossy(self.take(len)?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    const CORE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let mut section = vec![id, u8::try_from(content.len()).unwrap()];
        section.extend_from_slice(content);
        section
    }

    fn what(wasm: &[u8]) -> String {
        outline("p.wasm", wasm).unwrap_err().to_string()
    }

    #[test]
    fn counts_code_and_names_producers() {
        let producers = b"\x09producers\x01\x08language\x01\x04Rust\x041.95";
        let core = [&CORE[..], &section(10, &[0; 20]), &section(0, producers)].concat();
        let wasm = [&COMPONENT[..], &section(1, &core), &section(1, &core)].concat();
        let outline = outline("p.wasm", &wasm).unwrap();
        assert_eq!((outline.modules, outline.code_bytes), (2, 40));
        assert_eq!(outline.producers.len(), 1);
        assert_eq!(outline.producers[0].to_string(), "Rust 1.95");
    }

    #[test]
    fn says_what_a_file_is_instead() {
        assert!(what(&CORE).contains("core module"));
        assert!(what(b"").contains("empty"));
        assert!(what(b"\x7fELF and so on").contains("native code"));
        assert!(what(b"hello").contains("begins with the bytes [68, 65, 6c, 6c]"));
        assert!(what(b"\0asm\x0e\0\x01\0").contains("version 14"));
        assert!(what(&COMPONENT[..6]).contains("ends after 6 bytes"));
        assert!(what(b"(component)").contains("text"));
    }

    #[test]
    fn truncated_anywhere_is_said_or_left_to_the_compiler() {
        let core = [&CORE[..], &section(10, &[0; 20])].concat();
        let wasm = [&COMPONENT[..], &section(1, &core)].concat();
        for end in 9..wasm.len() {
            assert!(what(&wasm[..end]).contains("cut off"), "{end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_never_panic(tail: Vec<u8>) {
            let wasm = [&COMPONENT[..], &tail].concat();
            drop(outline("p.wasm", &wasm));
        }
    }
}
