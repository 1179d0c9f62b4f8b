//! Renders metrics in the text format of Prometheus, for this process or for several together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The metrics of this process; `None` if it exposes none.
#[cfg(feature = "health")]
pub(crate) fn text() -> Option<String> {
    super::prometheus::text()
}

#[cfg(not(feature = "health"))]
pub(crate) fn text() -> Option<String> {
    None
}

/// The metrics of several processes in one text: one heading for each metric, followed by the series of all processes.
/// `None` if there are none.
#[cfg(unix)]
pub(crate) fn merged(texts: impl Iterator<Item = String>) -> Option<String> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for text in texts {
        let mut name = String::new();
        for line in text.lines() {
            let heading = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
            if let Some(heading) = heading {
                heading.split(' ').next().unwrap_or_default().clone_into(&mut name);
            }
            let metric = metrics.entry(name.clone()).or_default();
            let lines = if heading.is_some() { &mut metric.headings } else { &mut metric.series };
            if heading.is_none() || !lines.iter().any(|known| known == line) {
                lines.push(line.to_owned());
            }
        }
    }
    let mut text = String::new();
    for Metric { headings, series } in metrics.values() {
        for line in headings.iter().chain(series) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
    }
    (!text.is_empty()).then_some(text)
}

/// The lines of one metric.
#[cfg(unix)]
#[derive(Default)]
struct Metric {
    headings: Vec<String>,
    series: Vec<String>,
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_one_heading_and_the_series_of_all() {
        let of = |worker: u32| {
            format!(
                "# HELP a_total How many?\n# TYPE a_total counter\na_total{{worker=\"{worker}\"}} {worker}\n\
                 # TYPE b gauge\nb{{worker=\"{worker}\"}} 7\n"
            )
        };
        let text = merged([of(0), of(1)].into_iter()).unwrap();
        assert_eq!(
            text,
            "# HELP a_total How many?\n# TYPE a_total counter\na_total{worker=\"0\"} 0\na_total{worker=\"1\"} 1\n\
             # TYPE b gauge\nb{worker=\"0\"} 7\nb{worker=\"1\"} 7\n"
        );
        assert_eq!(merged(std::iter::empty()), None);
    }
}
