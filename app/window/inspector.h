#pragma once
// Inspector: what is selected, in numbers: the head (scores with a bar and their percentile among all heads), the query's row
// (top keys, entropy, mass on first, self, previous), the next token. Filled from AppState whenever that changes.
#include <QScrollArea>

#include "app/window/app_state.h"
#include "app/window/fact_sheet.h"

namespace headscope::app {

class Inspector : public QScrollArea {
  Q_OBJECT
 public:
  explicit Inspector(AppState& state, QWidget* parent = nullptr);
  FactSheet* sheet() { return sheet_; }

 private:
  void refill();
  FactSection headSection() const;
  FactSection rowSection();
  FactSection nextSection() const;

  AppState& state_;
  FactSheet* sheet_;
  std::vector<int64_t> rowKeys_;  // token of each row of the "Row" section, -1 for sums
  QTimer refillSoon_;
};

}  // namespace headscope::app
