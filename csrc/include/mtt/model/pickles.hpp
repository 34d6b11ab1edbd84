// The pickles of a TorchScript archive, read without running them. libtorch believes what they say of tensors: sizes,
// strides and offsets are not compared with the memory behind them, so a forged one is a window on the whole process.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace mtt {

struct PickleRules {
    /// Folder of the records that hold the numbers of tensors, with its slash; empty: there may be no tensors.
    std::string tensors;
    /// Size of a record of the archive in bytes, if it is there.
    std::function<std::optional<uint64_t>(const std::string&)> record_size;
    /// Whether objects of that class may be in it.
    std::function<bool(const std::string&)> allows_class;
};

/// What is wrong with a pickle: something that TorchScript does not write, or a tensor that does not lie within its
/// record. Empty if nothing is.
std::string pickle_problem(const std::string& bytes, const PickleRules& rules);

}  // namespace mtt
