#pragma once
// The spectra view's charts, each a pure function into a rectangle of the figure: singular values, energy left out beyond a rank,
// and effective rank against the rotary offset.
#include "views/line_chart.h"
#include "views/spectra_data.h"

namespace headscope::views {

// Controls of the view: Pick::a.
enum SpectraControl : int64_t {
  kFormButton = 1,
  kOffsetSlider,
  kOffsetGrip,
  kRankGrip,  // kRankGrip and the next: vertical marks
  kRankGrip2,
  kEnergyGrip,  // kEnergyGrip and the next: horizontal marks
  kEnergyGrip2,
  kQkSlider,
  kOvSlider,
  kNormalised,
  kWeighted
};

/// Energy that the chart shows: from all of it left out down to this share.
inline constexpr double kLeastEnergy = 1e-5;

/// A threshold on the selected spectrum: set as a share of energy left out (options mark_1, mark_2) or as a rank (rank_1, rank_2).
struct RankMark {
  double epsilon = 0.01;
  int64_t rank = 0;
  std::string label() const;  // "99 %: rank 30"
};
RankMark rankMark(const core::ViewOptions& options, int which, const core::Spectrum& spectrum);

struct SpectraCharts {
  const ViewInput& input;
  const SpectraData& data;
  const ViewFrame& frame;

  const SpectrumLine* selected() const;
  double longest() const;  // values that are signal in the longest spectrum, at least 2
  void addValues(Figure& figure, const Rect& area, bool xLabels) const;
  void addEnergy(Figure& figure, const Rect& area) const;

 private:
  using Points = std::vector<Point>;
  Points pointsOf(const core::Spectrum& s, bool isEnergy) const;
  void addLines(Figure& figure, LineChart& chart, bool isEnergy) const;
  void addMarks(Figure& figure, LineChart& chart, bool isEnergy) const;
};

enum class OffsetMeasure { EffectiveRank, StableRank };
void addOffsetChart(Figure& figure, const ViewInput& input, const OffsetData& data, const ViewFrame& frame, const Rect& area,
                    OffsetMeasure measure, bool xLabels);

}  // namespace headscope::views
