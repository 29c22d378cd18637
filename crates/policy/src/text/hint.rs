/// How like two words must be, from 0 to 1, for one to be meant by the other.
const ALIKE: f64 = 0.7;

/// `; did you mean "…"?` with the word that is most like the one that nobody knows, if any is.
pub(super) fn closest<'w>(unknown: &str, words: impl IntoIterator<Item = &'w str>) -> String {
    let likeness = words.into_iter().map(|word| (strsim::jaro(unknown, word), word));
    let best = likeness.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(alike, _)| *alike >= ALIKE);
    best.map_or_else(String::new, |(_, word)| format!("; did you mean \"{word}\"?"))
}
