//! The command line as data: each argument is one line of `--help`, and that
//! line is also what is parsed. [`arguments!`] makes a struct of them.
//!
//! The rules are those of Go's and GNU's parsers together, as callers know
//! both: `--name VALUE`, `--name=VALUE`, `-name` for `--name`, `-n VALUE`,
//! `-nVALUE`, `-xyz` for three flags; `--` ends the options; the last of a
//! repeated option wins.

use crate::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What the caller typed, from left to right.
pub type Words = std::vec::IntoIter<OsString>;

/// A set of arguments with a place for each.
pub trait Arguments: Default {
    /// All of them, in the order of the help.
    fn list(&mut self) -> Vec<Argument<'_>>;
}

/// What the help tells of an argument: one line of it.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// As the help shows it: `-b, --bundle DIR`, `--force`; `CONTAINER`,
    /// `[SIGNAL]`, `CONTAINER...` and `CONTAINER [COMMAND]...` are positions. The last of
    /// these takes all words from there on, whatever they look like; the one before it all
    /// that are no options.
    pub usage: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Allowed values, the default first; empty: any.
    pub choices: &'static [&'static str],
}

/// One argument.
pub struct Argument<'a> {
    line: Line,
    value: &'a mut dyn Value,
    given: bool,
}

/// A place for what was typed.
pub trait Value {
    /// Takes one word.
    ///
    /// # Errors
    /// What is wrong with it.
    fn set(&mut self, word: OsString) -> std::result::Result<(), String>;
}

/// Why [`parse`] has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// No words are left.
    End,
    /// `-h` or `--help`.
    Help,
    /// A word that no position takes; more may follow.
    Word(OsString),
    /// An option that is not in the list.
    Unknown(OsString),
}

impl Line {
    /// The letter of an option.
    pub fn short(&self) -> Option<char> {
        let letter = self.usage.strip_prefix('-')?.chars().next()?;
        (letter != '-').then_some(letter)
    }

    /// The long name of an option.
    pub fn long(&self) -> Option<&'static str> {
        let (_, name) = self.usage.split_once("--")?;
        name.split(' ').next()
    }

    /// Whether it is known by its place instead of a name.
    pub fn is_position(&self) -> bool {
        !self.usage.starts_with('-')
    }

    /// Whether it takes all words from there on.
    pub fn takes_rest(&self) -> bool {
        self.is_position() && self.usage.ends_with("]...")
    }

    /// Whether it takes each further position.
    pub fn repeats(&self) -> bool {
        let name = self.usage.strip_suffix(']').unwrap_or(self.usage);
        self.is_position() && !self.takes_rest() && name.ends_with("...")
    }

    fn is_required(&self) -> bool {
        self.is_position() && !self.usage.starts_with('[')
    }

    /// A flag has no word behind its names.
    pub fn is_flag(&self) -> bool {
        self.usage.rsplit(' ').next().is_some_and(|word| word.starts_with('-'))
    }

    /// For messages.
    fn name(&self) -> &'static str {
        let at = self.usage.find("--").unwrap_or(0);
        self.usage[at..].split(' ').next().unwrap_or_default().trim_end_matches('.')
    }
}

impl<'a> Argument<'a> {
    /// One argument; see the fields of [`Line`].
    pub fn new(
        usage: &'static str,
        help: &'static str,
        choices: &'static [&'static str],
        value: &'a mut dyn Value,
    ) -> Self {
        Self { line: Line { usage, help, choices }, value, given: false }
    }

    /// The long name of an option.
    pub fn long(&self) -> Option<&'static str> {
        self.line.long()
    }

    fn set(&mut self, word: OsString) -> Result<()> {
        self.given = true;
        let shown = word.to_string_lossy().into_owned();
        if !self.line.choices.is_empty() && !self.line.choices.contains(&shown.as_str()) {
            let choices = self.line.choices.join(", ");
            let name = self.line.name();
            return Err(Error::new(format!("{shown:?} is not one of {choices}")).at(name));
        }
        let name = self.line.name();
        self.value.set(word).map_err(|why| Error::new(why).at(format_args!("{shown:?}")).at(name))
    }
}

/// The error of a word that is neither an option nor has a position. What stands behind the
/// name of an option may be a secret that was meant for another program.
pub fn unknown(word: &OsStr) -> Error {
    let shown = word.to_string_lossy();
    let name = if shown.starts_with('-') { shown.split('=').next() } else { None };
    Error::new("unknown flag or argument").at(name.unwrap_or(&shown))
}

/// Puts the words into their places.
///
/// # Errors
/// A value that is missing or refused.
pub fn parse(list: &mut [Argument<'_>], words: &mut Words) -> Result<Stop> {
    let mut options_ended = false;
    while let Some(word) = words.next() {
        let text = word.as_bytes();
        if options_ended || text.len() < 2 || text[0] != b'-' {
            let place =
                list.iter_mut().find(|a| a.line.is_position() && (!a.given || a.line.repeats()));
            let Some(place) = place else { return Ok(Stop::Word(word)) };
            place.set(word)?;
            if place.line.takes_rest() {
                words.try_for_each(|word| place.set(word))?;
            }
            continue;
        }
        match text {
            b"--" => options_ended = true,
            b"-h" | b"--help" | b"-help" => return Ok(Stop::Help),
            _ if option(list, &word, words)? => {}
            _ => return Ok(Stop::Unknown(word)),
        }
    }
    Ok(Stop::End)
}

/// False if it is not in the list.
fn option(list: &mut [Argument<'_>], word: &OsStr, words: &mut Words) -> Result<bool> {
    let text = word.as_bytes();
    let two_dashes = text.starts_with(b"--");
    let text = &text[if two_dashes { 2 } else { 1 }..];
    let (name, attached) = match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let long = list.iter_mut().find(|a| a.long().is_some_and(|long| long.as_bytes() == name));
    match long {
        Some(argument) if two_dashes || name.len() > 1 => {
            give(argument, attached, words).map(|()| true)
        }
        _ if two_dashes => Ok(false),
        _ => letters(list, word, words),
    }
}

/// `-xyz`, `-nVALUE`, `-n=VALUE`, `-n VALUE`; false if one is not in the list.
fn letters(list: &mut [Argument<'_>], word: &OsStr, words: &mut Words) -> Result<bool> {
    let mut left = &word.as_bytes()[1..];
    while let Some((letter, rest)) = left.split_first() {
        let argument = list.iter_mut().find(|a| a.line.short() == Some(char::from(*letter)));
        let Some(argument) = argument else { return Ok(false) };
        if argument.line.is_flag() && !rest.starts_with(b"=") {
            give(argument, None, words)?;
            left = rest;
            continue;
        }
        let attached = rest.strip_prefix(b"=").or(Some(rest).filter(|rest| !rest.is_empty()));
        return give(argument, attached, words).map(|()| true);
    }
    Ok(true)
}

fn give(argument: &mut Argument<'_>, attached: Option<&[u8]>, words: &mut Words) -> Result<()> {
    let word = match attached {
        Some(value) => OsString::from_vec(value.to_vec()),
        None if argument.line.is_flag() => "true".into(),
        // podman looks for these words to see whether an option is known.
        None => words
            .next()
            .ok_or_else(|| Error::new("flag needs an argument").at(argument.line.name()))?,
    };
    argument.set(word)
}

/// Checks that nothing is missing, and sets defaults.
///
/// # Errors
/// A position that must be given.
pub fn finish(list: Vec<Argument<'_>>) -> Result<()> {
    for mut argument in list.into_iter().filter(|argument| !argument.given) {
        if argument.line.is_required() {
            return Err(Error::new(format!("{} is missing", argument.line.name())));
        }
        if let Some(default) = argument.line.choices.first() {
            argument.set((*default).into())?;
        }
    }
    Ok(())
}

/// The help of a program or of one of its commands: as data for who makes other documents of it,
/// and shown as text.
pub struct Help {
    /// The program and the command: `pinnace create`.
    pub name: String,
    /// What it does, in a line.
    pub about: &'static str,
    /// Commands below it: their names and what they do.
    pub commands: Vec<(&'static str, &'static str)>,
    /// Its arguments, without `--help`.
    pub lines: Vec<Line>,
    /// A whole command line, or nothing.
    pub example: &'static str,
}

impl Help {
    /// That of a command with these arguments.
    pub fn new(
        name: String,
        about: &'static str,
        list: &[Argument<'_>],
        example: &'static str,
    ) -> Self {
        let lines = list.iter().map(|argument| argument.line).collect();
        Self { name, about, commands: Vec::new(), lines, example }
    }

    /// The words behind the name: `[OPTION]... CONTAINER`.
    pub fn synopsis(&self) -> String {
        let positions = self.lines.iter().filter(|line| line.is_position()).map(|line| line.usage);
        let words: Vec<_> = match (self.commands.is_empty(), self.lines.is_empty()) {
            (true, _) => ["[OPTION]..."].into_iter().chain(positions).collect(),
            (false, true) => vec!["COMMAND [ARGUMENT]..."],
            (false, false) => vec!["[OPTION]... COMMAND [ARGUMENT]..."],
        };
        words.join(" ")
    }

    /// Each argument and what it is, with its allowed values; `--help` is the last.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let row = |line: &Line| {
            let choices = match line.choices {
                [] => String::new(),
                [first, ..] => format!(" [{}; default: {first}]", line.choices.join(", ")),
            };
            (line.usage, format!("{}{choices}", line.help.trim()))
        };
        let help = ("-h, --help", "Print this help".to_owned());
        self.lines.iter().map(row).chain([help]).collect()
    }
}

impl Display for Help {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.about)?;
        if !self.commands.is_empty() {
            writeln!(f, "Commands:\n{}", columns(&self.commands))?;
        }
        writeln!(f, "Usage: {} {}\n", self.name, self.synopsis())?;
        f.write_str(&columns(&self.rows()))?;
        if !self.example.is_empty() {
            writeln!(f, "\nExample: {}", self.example)?;
        }
        Ok(())
    }
}

/// A table of two columns, indented by two.
fn columns(rows: &[(&str, impl Display)]) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    rows.iter().map(|(left, right)| format!("  {left:width$}  {right}\n")).collect()
}

fn utf8(word: OsString) -> std::result::Result<String, String> {
    word.into_string().map_err(|_| "is not UTF-8".to_owned())
}

impl Value for bool {
    fn set(&mut self, word: OsString) -> std::result::Result<(), String> {
        *self = utf8(word)?.parse().map_err(|_| "is neither true nor false".to_owned())?;
        Ok(())
    }
}

impl Value for u32 {
    fn set(&mut self, word: OsString) -> std::result::Result<(), String> {
        *self =
            utf8(word)?.parse().map_err(|_| "is not a number from 0 to 4294967295".to_owned())?;
        Ok(())
    }
}

impl Value for String {
    fn set(&mut self, word: OsString) -> std::result::Result<(), String> {
        *self = utf8(word)?;
        Ok(())
    }
}

impl Value for PathBuf {
    fn set(&mut self, word: OsString) -> std::result::Result<(), String> {
        *self = word.into();
        Ok(())
    }
}

/// An empty word is none, as with the peers: scripts give `--user "$ID"`.
impl<V: Value + Default> Value for Option<V> {
    fn set(&mut self, word: OsString) -> std::result::Result<(), String> {
        if word.is_empty() {
            *self = None;
            return Ok(());
        }
        self.insert(V::default()).set(word)
    }
}

/// Each time one more.
impl Value for Vec<String> {
    fn set(&mut self, word: OsString) -> std::result::Result<(), String> {
        self.push(utf8(word)?);
        Ok(())
    }
}

/// A struct of arguments. A field's documentation is its help, the text behind
/// it its usage; `in` lists the allowed values, the default first; `..field`
/// takes in another such struct.
macro_rules! arguments {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $(..$part:ident: $inner:ty,)*
            $($(#[doc = $help:literal])+ $vis:vis $field:ident: $kind:ty = $usage:literal $(in $choices:expr)?,)*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Default)]
        pub struct $name {
            $($part: $inner,)*
            $($(#[doc = $help])+ $vis $field: $kind,)*
        }

        impl $crate::arguments::Arguments for $name {
            fn list(&mut self) -> Vec<$crate::arguments::Argument<'_>> {
                #[allow(unused_mut, reason = "a struct may have no arguments")]
                let mut list = Vec::new();
                $(list.extend(self.$part.list());)*
                list.extend([$($crate::arguments::Argument::new(
                    $usage,
                    concat!($($help),+),
                    $crate::arguments::arguments!(@choices $($choices)?),
                    &mut self.$field,
                )),*]);
                list
            }
        }
    };
    (@choices) => { &[] };
    (@choices $choices:expr) => { &$choices };
}
pub(crate) use arguments;

#[cfg(test)]
mod tests {
    use super::*;

    arguments! {
        /// For the tests.
        pub struct Inner {
            /// A path
            file: Option<PathBuf> = "--pid-file FILE",
        }
    }
    arguments! {
        /// For the tests.
        pub struct All {
            ..inner: Inner,
            /// A flag
            force: bool = "-f, --force",
            /// Another
            quiet: bool = "-q",
            /// A list
            env: Vec<String> = "-e, --env NAME=VALUE",
            /// A number
            count: u32 = "--count N",
            /// A word of several
            format: String = "--format FORMAT" in ["table", "json"],
            /// A name
            id: String = "ID",
            /// All the rest
            rest: Vec<String> = "[COMMAND]...",
        }
    }
    arguments! {
        /// For the tests.
        pub struct Several {
            /// A flag
            force: bool = "-f, --force",
            /// Names
            ids: Vec<String> = "ID...",
        }
    }

    #[test]
    fn a_position_that_repeats_leaves_options_alone() {
        let mut several = Several::default();
        let words = ["a", "b", "-f", "c", "--", "-d"].map(OsString::from);
        let mut list = several.list();
        let stop = parse(&mut list, &mut Vec::from(words).into_iter()).unwrap();
        assert_eq!(stop, Stop::End);
        finish(list).unwrap();
        assert!(several.force);
        assert_eq!(several.ids, ["a", "b", "c", "-d"]);
        let mut none = Several::default();
        assert_eq!(finish(none.list()).unwrap_err().to_string(), "ID is missing");
    }

    fn read(line: &str) -> std::result::Result<String, String> {
        let mut all = All::default();
        let mut words = line.split_whitespace().map(OsString::from).collect::<Vec<_>>().into_iter();
        let mut list = all.list();
        let stop = parse(&mut list, &mut words).map_err(|error| error.to_string())?;
        if let Stop::Unknown(word) = stop {
            return Err(unknown(&word).to_string());
        }
        assert_eq!(stop, Stop::End, "{line}");
        finish(list).map_err(|error| error.to_string())?;
        let All { inner, force, quiet, env, count, format, id, rest } = all;
        let file = inner.file.unwrap_or_default();
        let file = file.display();
        Ok(format!("{file} {force} {quiet} {env:?} {count} {format} {id} {rest:?}"))
    }

    #[test]
    fn what_is_typed_gets_to_its_place() {
        for (line, wanted) in [
            ("x", r#" false false [] 0 table x []"#),
            ("x -f", r#" true false [] 0 table x []"#),
            ("x y -f", r#" false false [] 0 table x ["y", "-f"]"#),
            ("-f x", r#" true false [] 0 table x []"#),
            ("-fq x", r#" true true [] 0 table x []"#),
            ("-force x", r#" true false [] 0 table x []"#),
            ("--force=false x", r#" false false [] 0 table x []"#),
            (
                "-qe a=b -ec=d -e=e=f --env g=h --env=i=j x",
                r#" false true ["a=b", "c=d", "e=f", "g=h", "i=j"] 0 table x []"#,
            ),
            ("--pid-file /a --pid-file=/b -pid-file /c x", r#"/c false false [] 0 table x []"#),
            ("--count 1 --count=2 --format json x", r#" false false [] 2 json x []"#),
            ("--pid-file --force x", r#"--force false false [] 0 table x []"#),
            ("-- -x -f -- y", r#" false false [] 0 table -x ["-f", "--", "y"]"#),
            ("x y --help -e", r#" false false [] 0 table x ["y", "--help", "-e"]"#),
            ("-", r#" false false [] 0 table - []"#),
        ] {
            assert_eq!(read(line).unwrap(), wanted, "{line}");
        }
    }

    #[test]
    fn a_mistake_is_told_in_one_line() {
        for (line, wanted) in [
            ("", "ID is missing"),
            ("--bad x", "--bad: unknown flag or argument"),
            ("-bad x", "-bad: unknown flag or argument"),
            ("--bad=secret x", "--bad: unknown flag or argument"),
            ("-fx y", "-fx: unknown flag or argument"),
            ("--pid-file", "--pid-file: flag needs an argument"),
            ("-fe", "--env: flag needs an argument"),
            ("--count x y", r#"--count: "x": is not a number from 0 to 4294967295"#),
            ("--count -1 y", r#"--count: "-1": is not a number from 0 to 4294967295"#),
            ("--format x y", r#"--format: "x" is not one of table, json"#),
            ("--force=x y", r#"--force: "x": is neither true nor false"#),
        ] {
            assert_eq!(read(line).unwrap_err(), wanted, "{line}");
        }
    }

    #[test]
    fn the_help_is_the_table() {
        let mut all = All::default();
        let text = Help::new("pinnace x".to_owned(), "About.", &all.list(), "").to_string();
        assert!(
            text.starts_with("About.\n\nUsage: pinnace x [OPTION]... ID [COMMAND]...\n\n"),
            "{text}"
        );
        assert!(text.contains("\n  --pid-file FILE       A path\n"), "{text}");
        assert!(text.contains("A word of several [table, json; default: table]\n"), "{text}");
    }
}
