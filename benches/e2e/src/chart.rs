//! The medians as bars, a panel for each figure.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::report::{Report, Series};

const WIDTH: u32 = 900;
const PANEL: u32 = 260;

/// Draws the report as an SVG.
pub(crate) fn draw(path: &Path, report: &Report) -> Result<()> {
    let groups = report.groups();
    let panels = u32::try_from(groups.len().max(1))?;
    let root = SVGBackend::new(path, (WIDTH, PANEL * panels)).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("the chart: {error}");
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let areas = root.split_evenly((groups.len().max(1), 1));
    for (area, group) in areas.iter().zip(&groups) {
        panel(area, group).map_err(|error| failed(&error))?;
    }
    root.present().map_err(|error| failed(&error))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn panel<'a>(area: &Area<'a>, group: &[&Series]) -> Result<(), Failure<'a>> {
    let most = group.iter().map(|series| series.median()).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(group[0].title(), ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(130)
        .build_cartesian_2d(
            0.0..most.max(f64::MIN_POSITIVE) * 1.05,
            (0..group.len()).into_segmented(),
        )?;
    let name = |position: &SegmentValue<usize>| match position {
        SegmentValue::CenterOf(index) => {
            group.get(*index).map_or(String::new(), |series| series.subject.clone())
        }
        _ => String::new(),
    };
    chart.configure_mesh().disable_y_mesh().y_label_formatter(&name).draw()?;
    let bars = Histogram::horizontal(&chart).style(BLUE.mix(0.6).filled()).margin(6);
    let medians = group.iter().enumerate().map(|(index, series)| (index, series.median()));
    chart.draw_series(bars.data(medians))?;
    Ok(())
}
