// The disk cache's form of one layer's spectra.
#include "core/weights/packing.h"
#include "core/weights/spectra.h"

namespace headscope::core {

std::string packSpectra(const LayerSpectra& spectra) {
  Packer p;
  p.put(spectra.layer);
  p.put(static_cast<uint64_t>(spectra.notes.size()));
  for (const std::string& note : spectra.notes) p.put(note);
  p.put(static_cast<uint64_t>(spectra.matrices.size()));
  for (const MatrixSpectra& m : spectra.matrices) {
    p.put(m.name);
    p.put(static_cast<uint8_t>(m.isWhole));
    p.put(m.tail.alpha), p.put(m.tail.xmin), p.put(m.tail.xmax), p.put(m.tail.distance), p.put(m.tail.tail);
    p.put(static_cast<uint8_t>(m.tail.isFitted));
    p.put(static_cast<uint64_t>(m.heads.size()));
    for (const Spectrum& s : m.heads) {
      p.put(s.noise);
      p.put(static_cast<uint8_t>(s.route == SpectrumRoute::Householder));
      p.put(static_cast<uint8_t>(s.isFinite));
      p.put(static_cast<uint64_t>(s.sigma.size()));
      for (const double v : s.sigma) p.put(v);
    }
  }
  return std::move(p.bytes);
}

bool parseSpectra(std::string_view bytes, LayerSpectra& spectra) {
  Unpacker u{bytes};
  spectra = {};
  spectra.layer = u.get<int64_t>();
  for (uint64_t n = u.count(8); n > 0 && u.isGood; --n) spectra.notes.push_back(u.text());
  for (uint64_t n = u.count(16); n > 0 && u.isGood; --n) {
    MatrixSpectra m;
    m.name = u.text();
    m.isWhole = u.get<uint8_t>() != 0;
    m.tail.alpha = u.get<double>(), m.tail.xmin = u.get<double>(), m.tail.xmax = u.get<double>(), m.tail.distance = u.get<double>();
    m.tail.tail = u.get<int64_t>();
    m.tail.isFitted = u.get<uint8_t>() != 0;
    for (uint64_t h = u.count(18); h > 0 && u.isGood; --h) {
      Spectrum s;
      s.noise = u.get<double>();
      s.route = u.get<uint8_t>() != 0 ? SpectrumRoute::Householder : SpectrumRoute::Gram;
      s.isFinite = u.get<uint8_t>() != 0;
      s.sigma.resize(u.count(8));
      for (double& v : s.sigma) v = u.get<double>();
      m.heads.push_back(std::move(s));
    }
    spectra.matrices.push_back(std::move(m));
  }
  return u.isGood && u.bytes.empty();
}

}  // namespace headscope::core
