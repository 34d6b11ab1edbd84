// Loading a TorchScript model and calling it exactly as LAMMPS' pair_style metatomic does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mtt/model/archive.hpp"
#include "mtt/model/model.hpp"

namespace mtt {

/// Process-wide state: number of threads (0: as it is) and, until the returned object goes away, LAMMPS' fusion
/// strategy (DYNAMIC, 10) and silence instead of warnings on the terminal; Model::warnings() has them.
[[nodiscard]] std::shared_ptr<void> prepare_torch(int threads);

/// What libtorch and models have warned about so far.
std::vector<std::string> torch_warnings();

/// For threads that the program starts: one thread of libtorch and silent warnings, until the object goes away.
[[nodiscard]] std::shared_ptr<void> prepare_thread();

int torch_threads();
void set_torch_threads(int threads);
bool cuda_available();

/// Switches of TorchScript's executor, with its defaults.
struct Executor {
    /// Off in eOn.
    bool profiling = true;
    /// Off in LAMMPS and GROMACS if an environment variable says so.
    bool optimize = true;
    /// On (as a warning only) in eOn.
    bool deterministic = false;
};
/// In force until the returned object goes away.
[[nodiscard]] std::shared_ptr<void> with_executor(const Executor& executor);

/// Settings of libtorch that engines and other models share with this one, in words.
std::map<std::string, std::string> torch_state();
/// Together with those of the operating system and the processor.
std::map<std::string, std::string> shared_state();

/// load_atomistic_model, then capabilities, pick_device, Module::to, requested_neighbor_lists.
/// The returned model is an instance of its own: nothing is shared with other loads of the same file.
/// @param extensions directory with the TorchScript extensions that the file declares
/// Nothing of the file is loaded before foreign_operators() has looked at the same bytes.
/// @param allowed operators that the caller vouches for, beside those on the list
/// @param units of a model that declares none
/// @throws EngineError, naming what the file must not have, or whatever libtorch throws
std::unique_ptr<Model> load_model(
    std::shared_ptr<const Archive> archive, const std::optional<std::string>& extensions,
    const std::vector<std::string>& allowed, const AssumedUnits& units = {}
);

/// Calls of models that this process has made.
uint64_t call_count();

/// Factor from one unit expression to another; throws if they do not have the same dimension.
double unit_factor(const std::string& from, const std::string& to);

/// What a person needs of an exception: for TorchScript errors the last line, otherwise the first.
std::string explain(const std::exception& error);

struct LibraryVersions {
    std::string torch;
    std::string metatensor_torch;
    std::string metatomic_torch;
};
LibraryVersions library_versions();

}  // namespace mtt
