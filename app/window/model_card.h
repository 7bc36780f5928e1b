#pragma once
// ModelCard: what is open, in a few rows: sizes, parameters, file, dtype, adapter with its strength slider.
#include <QWidget>

#include "app/window/app_state.h"
#include "app/window/fact_sheet.h"

class QLabel;
class QSlider;

namespace headscope::app {

class ModelCard : public QWidget {
  Q_OBJECT
 public:
  explicit ModelCard(AppState& state, QWidget* parent = nullptr);
  QSlider* strengthSlider() { return slider_; }

 private:
  void refill();

  AppState& state_;
  FactSheet* sheet_;
  QWidget* strengthRow_;
  QSlider* slider_;
  QLabel* strength_;
};

}  // namespace headscope::app
