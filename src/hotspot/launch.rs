//! How a JVM was launched: its region's texts, which are cut and not quoted, with the exact words of its process.

use super::command::STRING_MAXIMUM;

/// What the kernel tells of a process's start; empty where it is not visible. It holds secrets.
#[derive(Default)]
pub(crate) struct ProcessStart {
    /// Its words, the program's name first.
    pub(crate) arguments: Vec<String>,
    /// Name and value of the variables that were asked for.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// The variables that may name the application.
pub(crate) const VARIABLES: [&str; 2] = [SERVICE_NAME, RESOURCE_ATTRIBUTES];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The texts of one launch.
pub(super) struct Launch<'a> {
    /// `java.rt.vmArgs`
    vm_args: &'a str,
    /// The process's options, and the words of its program with their arguments: those that the JVM calls its command.
    /// Empty where the process is not visible or its words differ, as with a JVM inside another program.
    pub(super) options: &'a [String],
    pub(super) program: &'a [String],
    start: &'a ProcessStart,
}

impl<'a> Launch<'a> {
    /// `command` is `sun.rt.javaCommand` without what the launcher adds.
    pub(super) fn new(command: &str, vm_args: &'a str, start: &'a ProcessStart) -> Self {
        let words = start.arguments.as_slice();
        let (joined, is_cut) = (words.join(" "), command.len() >= STRING_MAXIMUM);
        let is_program = |begin: usize| {
            let rest = joined.get(begin..).unwrap_or_default();
            let rest = rest.strip_prefix("--module=").unwrap_or(rest);
            rest == command || is_cut && rest.starts_with(command)
        };
        let begins = words.iter().scan(0_usize, |next, word| {
            let begin = *next;
            *next = begin.saturating_add(word.len()).saturating_add(1);
            Some(begin)
        });
        let mut begins = begins.enumerate().skip(1);
        let first = begins.find(|(_, begin)| !command.is_empty() && is_program(*begin)).map(|(index, _)| index);
        let (options, program) = first.and_then(|index| words.split_at_checked(index)).unwrap_or_default();
        Self { vm_args, options, program, start }
    }

    /// What names the application in these properties, by descending preference. For OpenTelemetry's it has the
    /// precedence of the SDK: the property, the variable, the attribute.
    pub(super) fn name(&self, properties: &[String]) -> Option<String> {
        let named = |property: &String| match property.as_str() {
            "otel.service.name" => self
                .property(property)
                .or_else(|| self.variable(SERVICE_NAME).map(str::to_owned))
                .or_else(|| service_name(self.property("otel.resource.attributes").as_deref()?))
                .or_else(|| service_name(self.variable(RESOURCE_ATTRIBUTES)?)),
            _ => self.property(property),
        };
        properties.iter().find_map(named)
    }

    fn variable(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.start.variables.iter().find(|(known, _)| *known == name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// The value of a system property: of the last option that sets it, which is the one that the JVM uses.
    ///
    /// The JVM's text has all options, of variables and files too, without quotes; those of the command line are exact
    /// in the process's words. A blank inside an option is told from one between two by what follows: options begin
    /// with `-`.
    fn property(&self, name: &str) -> Option<String> {
        let prefix = format!("-D{name}=");
        let is_inside = self.options.iter().any(|option| option.contains(&format!(" {prefix}")));
        let told = self.told(&prefix);
        let word = self.options.iter().rev().find(|option| option.starts_with(&prefix));
        // A later option of another source, such as `_JAVA_OPTIONS`, comes before the command line's.
        let is_last = |word: &str| told.is_none_or(|(at, _)| self.vm_args.rfind(word).is_none_or(|found| found >= at));
        let value = match (word, told) {
            (Some(word), _) if is_inside || is_last(word) => word.strip_prefix(&prefix),
            (_, Some((_, value))) if !is_inside => value,
            _ => None,
        };
        value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// Where the JVM's text has the option last, and its value unless the text may have been cut in it.
    fn told(&self, prefix: &str) -> Option<(usize, Option<&'a str>)> {
        let starts = |at: &usize| *at == 0 || self.vm_args.get(..*at).is_some_and(|before| before.ends_with(' '));
        let (at, _) = self.vm_args.rmatch_indices(prefix).find(|(at, _)| starts(at))?;
        let value = self.vm_args.get(at.saturating_add(prefix.len())..)?;
        let end = value.find(" -");
        let is_whole = end.is_some() || self.vm_args.len() < STRING_MAXIMUM;
        Some((at, value.get(..end.unwrap_or(value.len())).filter(|_| is_whole)))
    }
}

/// `service.name` in a list `key=value,key=value`, values percent-encoded.
fn service_name(attributes: &str) -> Option<String> {
    let mut pairs = attributes.split(',').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim() == "service.name")?;
    let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
    Some(value.into_owned()).filter(|value| !value.is_empty())
}
