#include <pybind11/stl.h>

#include "bindings.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

void register_catalogue(pybind11::module_& module) {
    module.def(
        "catalogue",
        [] {
            pybind11::list out;
            for (const auto& check : catalogue()) {
                pybind11::dict entry;
                entry["family"] = check.family;
                entry["name"] = check.name;
                entry["description"] = check.description;
                entry["tolerance"] = check.tolerance;
                entry["results"] = check.results;
                entry["level"] = name_of(check.from);
                entry["engines"] = check.engines;
                out.append(entry);
            }
            return out;
        },
        "All checks in the order in which they run: dicts with 'family', 'name', 'description', "
        "'tolerance', 'results' (the names that appear in reports), 'level' (from which it runs) and 'engines' (empty: all)."
    );
    module.def(
        "tolerances",
        [] {
            pybind11::list out;
            for (const auto& row : tolerance_table()) {
                pybind11::dict entry;
                entry["name"] = row.name;
                entry["float64"] = row.float64;
                entry["float32"] = row.float32;
                entry["reason"] = row.reason;
                out.append(entry);
            }
            return out;
        },
        "The tolerance table: dicts with 'name', 'float64', 'float32', 'reason'."
    );
}

}  // namespace mtt
