#include "mtt/checks/values.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace mtt {

ValueReader::ValueReader(Context& context):
    properties_(context.target().properties),
    per_system_(context.target().per_system),
    per_atom_(context.capabilities().per_atom()),
    float32_(context.capabilities().dtype == "float32") {
    double largest = 0.0;
    // By atomic type, what a baseline adds is the same for all atoms and says nothing about the network.
    std::map<int32_t, std::pair<double, double>> bounds;
    for (const auto& system : context.systems()) {
        const auto here = values(context.model(), system);
        for (const auto* part : {&here.atoms, &here.total}) {
            for (const double value : *part) {
                largest = std::isfinite(value) ? std::max(largest, std::abs(value)) : largest;
            }
        }
        for (size_t k = 0; k < here.atoms.size(); k += properties_) {
            auto& [low, high] = bounds.emplace(system.types[k / properties_], std::pair(here.atoms[k], here.atoms[k])).first->second;
            low = std::min(low, here.atoms[k]);
            high = std::max(high, here.atoms[k]);
        }
    }
    for (const auto& [type, range] : bounds) {
        scale_ = std::max(scale_, range.second - range.first);
    }
    scale_ = scale_ > 0 && std::isfinite(scale_) ? scale_ : std::max(largest, std::numeric_limits<double>::min());
    rounding_ = 4 * context.capabilities().ulp(largest);
}

Call ValueReader::call_of(const System& system) {
    Call call;
    call.systems = {system};
    call.gradients = false;
    return call;
}

Values ValueReader::values(Model& model, Call call) const {
    Values out;
    if (per_atom_) {
        call.kind = Kind::atom;
        out.atoms = rows_by_atom(model.evaluate(call), 0, call.systems.at(0).size(), properties_);
    }
    if (per_system_) {
        call.kind = Kind::system;
        out.total = model.evaluate(call).values;
    }
    return out;
}

Values ValueReader::values(Model& model, const std::vector<Domain>& domains, size_t n_atoms) const {
    Values out;
    if (per_atom_) {
        out.atoms.assign(n_atoms * properties_, std::nan(""));
    }
    if (per_system_) {
        out.total.assign(properties_, 0.0);
    }
    for (const auto& domain : domains) {
        auto call = call_of(domain.system);
        call.pairs = {domain.pairs};
        call.select = Select::listed;
        for (size_t i = 0; i < domain.n_local; ++i) {
            call.selected.emplace_back(0, int32_t(i));
        }
        if (per_atom_) {
            call.kind = Kind::atom;
            const auto answer = model.evaluate(call);
            for (size_t row = 0; row < answer.samples.size(); ++row) {
                const auto& sample = answer.samples[row];
                const auto atom = sample.size() == 2 ? sample[1] : -1;
                // An engine adds a row to whatever atom its label names.
                for (size_t p = 0; p < properties_ && atom >= 0 && size_t(atom) < domain.n_local; ++p) {
                    out.atoms[domain.origin[size_t(atom)] * properties_ + p] = answer.values.at(row * properties_ + p);
                }
            }
        }
        if (per_system_) {
            call.kind = Kind::system;
            const auto answer = model.evaluate(call);
            for (size_t p = 0; p < properties_; ++p) {
                out.total[p] += answer.values.at(p);
            }
        }
    }
    return out;
}

void ValueReader::compare(
    Comparison& comparison, const Values& a, const Values& b, Agreement agreement, const std::string& where, double extra
) const {
    const auto& row = *std::find_if(tolerance_table().begin(), tolerance_table().end(), [&](const auto& item) {
        return item.agreement == agreement;
    });
    const double tolerance = rounding_ + scale_ * (extra + (float32_ ? row.float32 : row.float64));
    if (a.atoms.size() != b.atoms.size() || a.total.size() != b.total.size()) {
        comparison.add(std::nan(""), tolerance, "number of values of " + where);
        return;
    }
    for (size_t k = 0; k < a.atoms.size(); ++k) {
        comparison.add(a.atoms[k] - b.atoms[k], tolerance,
                       "value of atom " + std::to_string(k / properties_) + " of " + where);
    }
    const double atoms = std::max<double>(1.0, double(a.atoms.size()) / double(properties_));
    for (size_t p = 0; p < a.total.size(); ++p) {
        comparison.add(a.total[p] - b.total[p], tolerance * (1.0 + std::sqrt(atoms)), "value of " + where);
    }
}

bool finite(const Values& values) {
    const auto sound = [](double value) { return std::isfinite(value); };
    return std::all_of(values.atoms.begin(), values.atoms.end(), sound) &&
           std::all_of(values.total.begin(), values.total.end(), sound);
}

}  // namespace mtt
