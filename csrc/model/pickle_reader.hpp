// Pickles of TorchScript archives, read without making anything of what they describe.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace mtt {

/// What a pickle describes. Objects that it names twice are one value.
struct PickleValue {
    enum class Kind { none, boolean, integer, number, complex, text, tuple, list, dict, name, storage, tensor, device, object };
    Kind kind = Kind::none;
    int64_t integer = 0;
    /// Text, "module name" of a name, key of a storage, class of an object.
    std::string text;
    /// Parts; of a dict, keys and values in turn; of an object, its state; of a storage, see pickle_reader.cpp.
    std::vector<std::shared_ptr<PickleValue>> parts;
    /// Types that the pickle states for a list or dict.
    std::vector<std::string> tags;
    /// Of a storage: its type ("FloatStorage").
    std::string type;
    /// Of an object: its state has been set.
    bool built = false;
};
using PicklePart = std::shared_ptr<PickleValue>;

/// The pickle is not one that TorchScript writes.
class PickleError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct PickleContent {
    PicklePart top;
    std::vector<PicklePart> tensors;
    /// Lists and dicts with types.
    std::vector<PicklePart> tagged;
    std::vector<PicklePart> objects;
};

/// @throws PickleError
PickleContent read_pickle(const std::string& bytes);

}  // namespace mtt
