//! Manual pages, of the tables that `--help` prints: one for each program with the prose of
//! `docs/NAME.8`, and one for each command of `pinnace`.

use crate::{Made, read, top};
use pinnace::arguments::Help;

/// All of them.
///
/// # Errors
/// Those of reading the prose.
pub fn pages() -> Result<Vec<Made>, String> {
    let (runtime, image) = (pinnace::cli::helps(), pinnace::image::cli::helps());
    let list =
        |helps: &[Help]| helps[1..].iter().filter(|help| !is_below(help)).map(entry).collect();
    let whole = |helps: &[Help]| helps[1..].iter().map(section).collect::<String>();
    let mut pages = vec![
        page("pinnace", &program("pinnace", &runtime[0], list(&runtime))?),
        page("pinnace-image", &program("pinnace-image", &image[0], whole(&image))?),
    ];
    for help in runtime[1..].iter().filter(|help| !is_below(help)) {
        let below = runtime.iter().filter(|other| is_of(other, help));
        pages.push(page(&help.name.replace(' ', "-"), &command(help, &below.collect::<Vec<_>>())));
    }
    Ok(pages)
}

/// `pinnace network create`.
fn is_below(help: &Help) -> bool {
    help.name.matches(' ').count() > 1
}

fn is_of(help: &Help, command: &Help) -> bool {
    help.name.strip_prefix(&command.name).is_some_and(|rest| rest.starts_with(' '))
}

fn page(name: &str, body: &str) -> Made {
    let title = escape(&name.to_uppercase());
    let head =
        format!(".TH {title} 8 \"\" \"pinnace {}\" \"System Administration\"\n", pinnace::VERSION);
    (format!("share/man/man8/{name}.8"), head + body)
}

/// The page of a program: its prose, with the tables in place of the marks.
fn program(name: &str, help: &Help, commands: String) -> Result<String, String> {
    let prose = read(&top().join(format!("docs/{name}.8")))?;
    Ok(prose.replace("@GLOBAL@\n", &options(help)).replace("@COMMANDS@\n", &commands))
}

/// The page of a command, with those below it.
fn command(help: &Help, below: &[&Help]) -> String {
    let (program, name) = help.name.split_once(' ').unwrap_or((&help.name, ""));
    let mut about = help.about.to_owned();
    about[..1].make_ascii_lowercase();
    let mut text = format!(
        ".SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {program}\n.RI [ OPTION ]...\n.B {}\n{}\n",
        escape(&format!("{program}-{name}")),
        plain(&about),
        escape(name),
        escape(&help.synopsis()),
    );
    if !help.lines.is_empty() {
        text += &format!(".SH OPTIONS\n{}", options(help));
    }
    if !below.is_empty() {
        let sections: String = below.iter().map(|help| section(help)).collect();
        text += &format!(".SH COMMANDS\n{sections}");
    }
    if !help.example.is_empty() {
        text += &format!(".SH EXAMPLE\n{}\n", escape(help.example));
    }
    text + ".SH SEE ALSO\n.BR pinnace (8),\nwhich has the options before the command, files, exit status and more examples\n"
}

/// A command in the list of the program's page.
fn entry(help: &Help) -> String {
    let name = escape(&help.name.replace(' ', "-"));
    format!(".TP\n.BR {name} (8)\n{}.\n", plain(help.about))
}

/// A command in a page with others: its synopsis, what it does, its options.
fn section(help: &Help) -> String {
    let (_, name) = help.name.split_once(' ').unwrap_or_default();
    let title = escape(&format!("{name} {}", help.synopsis()));
    let mut text = format!(".SS {title}\n{}.\n{}", plain(help.about), options(help));
    if !help.example.is_empty() {
        text += &format!(".PP\nExample: \\fB{}\\fR\n", escape(help.example));
    }
    text
}

/// The arguments, as tagged paragraphs.
fn options(help: &Help) -> String {
    let rows = help.rows().into_iter().filter(|(usage, _)| *usage != "-h, --help");
    rows.map(|(usage, text)| format!(".TP\n\\fB{}\\fR\n{}\n", escape(usage), plain(&text)))
        .collect()
}

/// What is typed: its hyphens are ASCII's.
fn escape(text: &str) -> String {
    plain(text).replace('-', "\\-")
}

/// A line of text that is no request, whatever it begins with.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_and_network_has_those_below_it() {
        let pages = pages().unwrap();
        let names: Vec<_> =
            pages.iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
        assert_eq!(names[..3], ["pinnace.8", "pinnace-image.8", "pinnace-create.8"]);
        assert!(names.contains(&"pinnace-network.8") && !names.contains(&"pinnace-network-ls.8"));
        for (name, text) in &pages {
            assert!(text.starts_with(".TH PINNACE"), "{name}");
            assert!(!text.lines().any(|line| line.starts_with('@')), "{name}: a mark is left");
        }
        let network = &pages.iter().find(|(name, _)| name.ends_with("network.8")).unwrap().1;
        assert!(network.contains("\n.SS network create [OPTION]... NAME\n"), "{network}");
        let main = &pages[0].1;
        assert!(main.contains("\n.TP\n.BR pinnace\\-network (8)\nConnect"), "{main}");
        assert!(main.contains("\n.TP\n\\fB\\-\\-root DIR\\fR\nDirectory"), "{main}");
    }

    #[test]
    fn no_text_is_taken_for_a_request() {
        assert_eq!(plain(".so a\\b"), "\\&.so a\\eb");
        assert_eq!(escape("--a-b"), "\\-\\-a\\-b");
    }
}
