//! The root as an overlay: directories that stay as they are, one upon the other, and one on top
//! that takes what the container writes (kernel: filesystems/overlayfs.rst).
//!
//! Who asks for it is the command line, or an annotation that names the layers of an image. An
//! engine may pass on annotations that an image has made up, and this one would show it any
//! directory of the host. So it is obeyed only beside a `root.path` that no engine writes and no
//! image decides: see [`PLACE`] and [`Overlay::has_own_place`].

use super::mounts::{Maps, UserNamespace};
use super::{Findings, Kind, Namespaces, Options};
use crate::error::{At, Error, Result};
use crate::spec::{LAYERS, Linux, Spec};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The `root.path` of a bundle whose root is layers. That nothing lies there is not enough: of an
/// image without files, umoci makes an empty `rootfs`, and annotations of the image's labels.
pub const PLACE: &str = LAYERS;
/// The annotation in which a container's record keeps what the command line asked for.
pub const ASKED: &str = "run.pinnace.overlay";
/// `OVL_MAX_STACK` (fs/overlayfs/params.h).
pub const MAX_LOWERS: usize = 500;

/// What the command line asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Further lower directories, absolute, each upon the one before.
    pub lower: Vec<String>,
    /// Bytes that the container may write, if they go to a tmpfs.
    pub size: Option<u64>,
    /// The absolute directory that keeps what the container writes.
    pub dir: Option<String>,
}

/// An overlay, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The lower directories, the lowest first; never empty.
    pub lowers: Vec<Lower>,
    /// Where the container writes.
    pub upper: Upper,
    /// The id mapping of an image's layers, whose ids are those of the container.
    pub idmap: Option<Maps>,
}

/// A directory of which nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lower {
    /// Its absolute path on the host.
    pub path: PathBuf,
    /// Who names it.
    pub origin: Origin,
}

/// Who names a lower directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `root.path`
    Root,
    /// The annotation [`LAYERS`].
    Layers,
    /// `--lower`
    Option,
}

/// Where the container writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upper {
    /// A tmpfs that goes with the container; the kernel's own size, or that many bytes.
    Tmpfs(Option<u64>),
    /// A directory that is kept.
    Dir(PathBuf),
}

impl Wish {
    /// As the record has it.
    pub fn to_text(&self) -> String {
        let mut text = json!({});
        if !self.lower.is_empty() {
            text["lower"] = json!(self.lower);
        }
        if let Some(size) = self.size {
            text["size"] = json!(size);
        }
        if let Some(dir) = &self.dir {
            text["dir"] = json!(dir);
        }
        text.to_string()
    }
}

impl Origin {
    /// The field of the configuration, or the option.
    pub fn field(self) -> String {
        match self {
            Self::Root => "root.path".into(),
            Self::Layers => format!("annotations.{LAYERS}"),
            Self::Option => "--lower".into(),
        }
    }
}

impl Overlay {
    /// Whether the root is no more than a place for the layers of an image: an empty directory
    /// of the bundle that nothing is mounted on. No engine has such a root.
    pub fn has_own_place(&self) -> bool {
        self.lowers.iter().any(|lower| lower.origin == Origin::Layers)
    }
}

/// Plans the root as an overlay, if anybody asks for it.
pub fn plan(
    spec: &Spec,
    options: &Options,
    root: &Path,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Option<Overlay> {
    let layers = spec.annotations.get(LAYERS);
    if options.overlay.is_none() && spec.annotations.contains_key(ASKED) {
        findings.error(
            Error::new("is the runtime's to write")
                .at(format_args!("annotations.{ASKED}"))
                .hint("--overlay asks for an overlay"),
        );
    }
    let wish = options.overlay.clone().or_else(|| layers.map(|_| Wish::default()))?;
    let mut lowers = Vec::new();
    match layers {
        None => lowers.push(Lower { path: root.into(), origin: Origin::Root }),
        Some(text) => {
            let field = Origin::Layers.field();
            findings.keep(check_place(spec).at(|| &field));
            let paths = findings.keep(parse(text).at(|| field))?;
            lowers.extend(paths.into_iter().map(|path| Lower { path, origin: Origin::Layers }));
        }
    }
    let further = wish.lower.iter().map(|path| Lower { path: path.into(), origin: Origin::Option });
    lowers.extend(further);
    let lowers = without_repeated(lowers);
    if let Some(last) = lowers.last().filter(|_| lowers.len() > MAX_LOWERS) {
        let field = if layers.is_some() { Origin::Layers.field() } else { last.origin.field() };
        let count = lowers.len();
        findings.error(
            Error::new(format!("{count} lower directories are more than {MAX_LOWERS}"))
                .at(&field)
                .hint("an overlay takes no more: merge some of them into one"),
        );
    }
    if !namespaces.creates(Kind::Mount) {
        findings.error(
            Error::new("an overlay needs a new mount namespace")
                .at("linux.namespaces")
                .hint("it goes with that: add {\"type\": \"mount\"}"),
        );
    }
    let upper = wish.dir.map_or(Upper::Tmpfs(wish.size), |dir| Upper::Dir(dir.into()));
    if let Upper::Dir(dir) = &upper {
        findings.keep(check_apart(dir, &lowers));
    }
    let linux = spec.linux.as_ref().filter(|_| layers.is_some());
    Some(Overlay { lowers, upper, idmap: linux.and_then(idmap) })
}

/// The directories that the annotation names.
fn parse(text: &str) -> Result<Vec<PathBuf>> {
    let list: Vec<String> = serde_json::from_str(text).map_err(|_| {
        Error::new("is no JSON array of directories").hint("as [\"/lowest\", \"/next\"]")
    })?;
    if list.is_empty() {
        return Err(Error::new("names no directory"));
    }
    for path in &list {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(Error::new(format!("{path:?} must be an absolute path")));
        }
    }
    Ok(list.into_iter().map(PathBuf::from).collect())
}

/// What lies or is mounted there is looked for when the overlay is made.
fn check_place(spec: &Spec) -> Result<()> {
    let path = spec.root.as_ref().map_or("", |root| &root.path);
    if path == PLACE {
        return Ok(());
    }
    Err(Error::new(format!("root.path must be {PLACE:?}, not {path:?}")).hint(NOT_OWN))
}

/// The way out of a bundle that has its own root, and layers beside.
pub const NOT_OWN: &str =
    "layers are for a bundle without files of its own; --lower adds to others";

/// Why what is written lies elsewhere.
pub const NOT_TO_CHANGE: &str = "that is a lower directory, which is not to change";

/// A layer that comes again hides all of its first time.
fn without_repeated(mut lowers: Vec<Lower>) -> Vec<Lower> {
    let mut seen = BTreeSet::new();
    lowers.reverse();
    lowers.retain(|lower| seen.insert(lower.path.clone()));
    lowers.reverse();
    lowers
}

/// By their names. The kernel allows an upper directory in a lower one, which changes then.
fn check_apart(dir: &Path, lowers: &[Lower]) -> Result<()> {
    for lower in lowers {
        if dir.starts_with(&lower.path) {
            let (dir, lower) = (dir.display(), lower.path.display());
            return Err(Error::new(format!("{dir} lies in {lower}"))
                .at("--overlay-dir")
                .hint(NOT_TO_CHANGE));
        }
        if lower.path.starts_with(dir) {
            let (dir, lower) = (dir.display(), lower.path.display());
            return Err(Error::new(format!("{lower} lies in {dir}"))
                .at("--overlay-dir")
                .hint("a lower directory must lie elsewhere"));
        }
    }
    Ok(())
}

/// In a user namespace, that of the container.
fn idmap(linux: &Linux) -> Option<Maps> {
    match UserNamespace::of(linux) {
        UserNamespace::Host => None,
        UserNamespace::New(uids, gids) => Some(Maps::Given(uids.to_vec(), gids.to_vec())),
        UserNamespace::Joined => Some(Maps::JoinedUserNamespace),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // what a test cannot do, it fails at
mod tests {
    use super::*;

    fn planned(config: &str, overlay: Option<Wish>) -> (Option<Overlay>, Vec<String>) {
        let spec: Spec = crate::spec::parse_str("config.json", config).unwrap();
        let options = Options { bundle: "/bundle".into(), overlay, ..Options::default() };
        let mut findings = Findings::default();
        let plan = crate::plan::create(&spec, &options, &mut findings);
        let errors = findings.errors().iter().map(ToString::to_string).collect();
        (plan.rootfs.overlay, errors)
    }

    fn config(root: &str, annotations: &str) -> String {
        format!(
            r#"{{"ociVersion": "1.0.2", "root": {{"path": "{root}"}}, "annotations": {{{annotations}}},
            "linux": {{"namespaces": [{{"type": "mount"}}]}}}}"#
        )
    }

    fn layers(list: &str) -> String {
        format!(r#""{LAYERS}": "{}""#, list.replace('"', "\\\""))
    }

    fn paths(overlay: &Overlay) -> Vec<&str> {
        overlay.lowers.iter().map(|lower| lower.path.to_str().unwrap()).collect()
    }

    #[test]
    fn the_root_is_the_lowest_and_each_option_lies_upon_the_last() {
        assert_eq!(planned(&config("rootfs", ""), None), (None, Vec::new()));
        let wish = Wish { lower: vec!["/a".into(), "/b".into()], ..Wish::default() };
        let (overlay, errors) = planned(&config("rootfs", ""), Some(wish.clone()));
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(paths(&overlay.unwrap()), ["/bundle/rootfs", "/a", "/b"]);
        let text = config(PLACE, &layers(r#"["/x", "/y", "/x"]"#));
        let (overlay, errors) = planned(&text, Some(wish));
        assert_eq!(errors, Vec::<String>::new());
        let overlay = overlay.unwrap();
        assert_eq!(paths(&overlay), ["/y", "/x", "/a", "/b"]);
        assert!(overlay.has_own_place() && overlay.upper == Upper::Tmpfs(None));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let many: Vec<String> = (0..MAX_LOWERS).map(|n| format!("/{n}")).collect();
        let lower = |lower: &[String]| Wish { lower: lower.to_vec(), ..Wish::default() };
        let dir = |dir: &str| Wish { dir: Some(dir.into()), ..lower(&["/low/x".to_owned()]) };
        let none = || Some(Wish::default());
        let asked = format!(r#""{ASKED}": "{{}}""#);
        for (root, annotations, wish, wanted) in [
            (PLACE, layers("x"), None, "is no JSON array"),
            (PLACE, layers("[]"), None, "names no directory"),
            (PLACE, layers(r#"["a"]"#), None, "\"a\" must be an absolute path"),
            ("/rootfs", layers(r#"["/a"]"#), None, "root.path must be \"run.pinnace.layers\""),
            ("rootfs", layers(r#"["/a"]"#), none(), "root.path must be \"run.pinnace.layers\""),
            ("rootfs", asked.clone(), None, "is the runtime's to write"),
            (PLACE, asked + "," + &layers(r#"["/a"]"#), None, "is the runtime's to write"),
            ("rootfs", String::new(), Some(lower(&many)), "501 lower directories"),
            ("rootfs", String::new(), Some(dir("/bundle/rootfs/x")), "/bundle/rootfs/x lies in"),
            ("rootfs", String::new(), Some(dir("/low")), "/low/x lies in /low"),
        ] {
            let (_, errors) = planned(&config(root, &annotations), wish);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{wanted}: {errors:?}");
        }
        let (_, errors) = planned(&config("rootfs", "").replace("mount", "uts"), none());
        assert!(errors[0].contains("needs a new mount namespace"), "{errors:?}");
        let (overlay, errors) = planned(&config("rootfs", ""), Some(lower(&many[1..])));
        assert_eq!((overlay.unwrap().lowers.len(), errors), (MAX_LOWERS, Vec::new()));
    }

    #[test]
    fn the_record_has_what_was_asked_for() {
        assert_eq!(Wish::default().to_text(), "{}");
        let wish = Wish { lower: vec!["/a".into()], size: Some(4096), dir: None };
        assert_eq!(wish.to_text(), r#"{"lower":["/a"],"size":4096}"#);
    }
}
