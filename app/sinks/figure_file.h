#pragma once
// Figure files: a figure written as SVG, PDF or PNG with the session that made it inside, and that session read back.
// Every file appears whole or not at all. Needs a QGuiApplication for writing.
#include <filesystem>
#include <string>

#include "core/session/session.h"
#include "views/figure/figure.h"

namespace headscope::app {

struct FigureFileOptions {
  double pixelsPerPoint = 4;  // PNG: 4 is 288 dots an inch
};

/// Format from the ending: .svg, .pdf or .png. Throws core::Error on another ending, on a folder that can't be written to, on a
/// full disk; the old file is then unchanged. The same figure and session give the same bytes.
void writeFigure(const std::filesystem::path& path, const views::Figure& figure, const core::Session& session,
                 const FigureFileOptions& options = {});

/// Numbers shown, as CSV (RFC 4180, UTF-8, one header line).
void writeCsv(const std::filesystem::path& path, const views::Table& table);

/// What the figure shows, in sentences: model, prompt, head, mechanism, scale, limits and version.
std::string captionText(const views::Figure& figure, const core::Session& session);
/// The caption beside the figure: FIGURE.txt for FIGURE.svg.
void writeCaption(const std::filesystem::path& figurePath, const views::Figure& figure, const core::Session& session);

}  // namespace headscope::app
