#pragma once
// EffectiveMaps: what the heads of a trace attended with where something else stood in for the model's own attention: rows of the map
// that multiplied V. A trace with replaced heads owns one, made for it by whoever replaced them (core/mechanisms/replaced_maps.h), and
// an AttentionMap reads it, so that every view shows the map that was used. May be asked from several threads at once.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/backend/tile_request.h"
#include "core/base/job.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

struct HeadRef;

class EffectiveMaps {
 public:
  virtual ~EffectiveMaps() = default;
  /// How the head was run, "local:window=64"; "" for a head under the model's own attention, of which nothing below may be asked.
  virtual std::string mechanismOf(HeadRef head) const = 0;
  /// Rows are non-negative and sum to 1; otherwise entries may be negative, and a map of them wants diverging colour.
  virtual bool isNormalised(HeadRef head) const = 0;
  /// The map multiplies the head's own V; otherwise values of another layer or of another projection.
  virtual bool readsOwnValues(HeadRef head) const = 0;
  /// What a reader has to know: "not causal: sees later tokens", "a what-if: ...".
  virtual std::vector<std::string> notes(HeadRef head, Job& job) const = 0;
  /// Rows [first, first + rows.rows) of the map: [rows, N]. Zero where the head does not attend.
  virtual void rows(HeadRef head, int64_t first, MatrixView rows, Job& job) const = 0;
  /// Cells of the map where a device pools them; none: they are pooled from rows().
  virtual std::optional<Matrix> tile(HeadRef head, const TileRequest& request, Job& job) const;
};

}  // namespace headscope::core
