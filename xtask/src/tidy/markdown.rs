//! As much of Markdown as the checks of documents need: headings, links, code fences, code spans.

/// What a document holds, each with its line.
#[derive(Debug, Default)]
pub struct Document {
    /// The level (1 for `# `), the text and the line of every heading.
    pub headings: Vec<(usize, String, usize)>,
    /// The target of every link and image.
    pub links: Vec<(String, usize)>,
    /// Names that links refer to, as `[text][name]`.
    pub references: Vec<(String, usize)>,
    /// Names that `[name]: target` defines.
    pub definitions: Vec<String>,
    /// What follows the opening of every code fence.
    pub fences: Vec<(String, usize)>,
    /// The content of every code span.
    pub spans: Vec<(String, usize)>,
    /// Anchors that HTML sets.
    pub anchors: Vec<String>,
}

impl Document {
    /// Reads `text`.
    pub fn parse(text: &str) -> Document {
        let mut document = Document::default();
        let mut fence: Option<&str> = None;
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim_start().trim_start_matches("> ");
            let bar = ["```", "~~~"].into_iter().find(|bar| trimmed.starts_with(bar));
            match (fence, bar) {
                (None, Some(bar)) => {
                    fence = Some(bar);
                    let language = trimmed.trim_start_matches(['`', '~']).trim();
                    document.fences.push((language.to_owned(), index + 1));
                }
                (Some(open), Some(bar)) if open == bar => fence = None,
                (Some(_), _) => {}
                (None, None) => document.read_line(line, index + 1),
            }
        }
        document
    }

    fn read_line(&mut self, line: &str, number: usize) {
        let level = line.chars().take_while(|&c| c == '#').count();
        if (1..=6).contains(&level) && line[level..].starts_with(' ') {
            let text = line[level..].trim().trim_end_matches('#').trim_end();
            self.headings.push((level, text.to_owned(), number));
        }
        let plain = self.take_spans(line, number);
        self.read_links(&plain, number);
        for (attribute, is_anchor) in
            [("href=\"", false), ("src=\"", false), ("id=\"", true), ("name=\"", true)]
        {
            for (at, _) in plain.match_indices(attribute) {
                let rest = &plain[at + attribute.len()..];
                let value = rest.split('"').next().unwrap_or(rest).to_owned();
                if is_anchor {
                    self.anchors.push(value);
                } else {
                    self.links.push((value, number));
                }
            }
        }
    }

    /// Moves the code spans of a line away, so that what is in them is not read as links.
    fn take_spans(&mut self, line: &str, number: usize) -> String {
        let mut plain = String::new();
        let mut rest = line;
        while let Some(start) = rest.find('`') {
            let ticks = rest[start..].chars().take_while(|&c| c == '`').count();
            let behind = &rest[start + ticks..];
            let Some(end) = behind.find(&"`".repeat(ticks)) else { break };
            self.spans.push((behind[..end].trim().to_owned(), number));
            plain.push_str(&rest[..start]);
            plain.push_str("code");
            rest = &behind[end + ticks..];
        }
        plain.push_str(rest);
        plain
    }

    fn read_links(&mut self, line: &str, number: usize) {
        let definition = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]:"));
        if let Some((name, target)) = definition
            && !name.contains(['[', ']'])
        {
            self.definitions.push(name.to_lowercase());
            self.links.push((target_of(target), number));
            return;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            let end = closing(rest).unwrap_or(rest.len());
            self.links.push((target_of(&rest[..end]), number));
        }
        for (at, _) in line.match_indices("][") {
            let rest = &line[at + 2..];
            if let Some(end) = rest.find(']').filter(|&end| end > 0) {
                self.references.push((rest[..end].to_lowercase(), number));
            }
        }
    }

    /// The anchors that a link may end in, as GitHub makes them.
    pub fn all_anchors(&self) -> Vec<String> {
        let mut anchors = self.anchors.clone();
        for (_, text, _) in &self.headings {
            let slug = slug(text);
            let same = |number: usize| format!("{slug}-{number}");
            let mut anchor = slug.clone();
            let mut number = 0;
            while anchors.contains(&anchor) {
                number += 1;
                anchor = same(number);
            }
            anchors.push(anchor);
        }
        anchors
    }
}

/// A link's target without its title and angle brackets.
fn target_of(text: &str) -> String {
    let text = text.trim();
    if let Some((target, _)) = text.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        return target.to_owned();
    }
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// Where the parenthesis closes that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// A heading's anchor: lower case, spaces to hyphens, and letters, digits, `-` and `_` kept.
fn slug(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    // A link in a heading leaves its text.
    while let Some((before, behind)) = rest.split_once("](") {
        text.push_str(before);
        rest = closing(behind).map_or("", |end| &behind[end + 1..]);
    }
    text.push_str(rest);
    text.to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => c.is_alphanumeric().then_some(c),
        })
        .collect()
}
