// The pickles of an archive: libtorch takes sizes, strides and offsets of tensors as they are written, and gives objects
// to attributes of another type. Both let code read and write memory that is not its own.
#include <torch/csrc/jit/frontend/parser.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <unordered_map>

#include "pickle_reader.hpp"
#include "script.hpp"

namespace mtt {

namespace {

using namespace torch::jit;
using Kind = PickleValue::Kind;

constexpr uint64_t largest_pickle = 512U << 20U;
constexpr size_t most_steps = 20'000'000;
constexpr int deepest_type = 60;

/// Bytes of a number, by the name of its storage; 0 for types that models do not hold.
int64_t width(const std::string& storage) {
    static const std::unordered_map<std::string, int64_t> widths = {
        {"FloatStorage", 4}, {"DoubleStorage", 8}, {"HalfStorage", 2}, {"BFloat16Storage", 2}, {"LongStorage", 8},
        {"IntStorage", 4}, {"ShortStorage", 2}, {"CharStorage", 1}, {"ByteStorage", 1}, {"BoolStorage", 1},
        {"ComplexFloatStorage", 8}, {"ComplexDoubleStorage", 16},
    };
    const auto found = widths.find(storage);
    return found == widths.end() ? 0 : found->second;
}

/// The numbers of a tuple; false if it is none of not negative integers.
bool numbers(const PickleValue& tuple, std::vector<int64_t>& out) {
    for (const auto& part : tuple.parts) {
        if (part->kind != Kind::integer || part->integer < 0) {
            return false;
        }
        out.push_back(part->integer);
    }
    return tuple.kind == Kind::tuple && out.size() <= 64;
}

class ObjectReader {
public:
    ObjectReader(const Archive& archive, const Script& script, const Permits& permits, std::string record,
                 std::string folder, std::vector<Foreign>& out):
        archive_(archive), script_(script), permits_(permits), record_(std::move(record)), folder_(std::move(folder)),
        out_(out) {}

    void read() {
        if (archive_.size_of(record_) > largest_pickle) {
            return add("pickle", "it is larger than objects of models are");
        }
        try {
            const std::string bytes = archive_.read(record_);
            const auto content = read_pickle(bytes);
            if ((record_ == "data.pkl" && content.top->kind != Kind::object) ||
                (record_ == "constants.pkl" && content.top->kind != Kind::tuple)) {
                add("pickle", "it does not describe what libtorch loads from a record of this name");
            }
            for (const auto& tensor : content.tensors) {
                check_tensor(*tensor);
            }
            for (const auto& object : content.objects) {
                check_object(*object);
            }
            for (const auto& value : content.tagged) {
                check_tags(value);
            }
        } catch (const std::exception& error) {
            const std::string why = error.what();
            add("pickle", why.substr(0, why.find('\n')).substr(0, 200));
        }
    }

private:
    void add(const std::string& name, const std::string& why) {
        if (out_.size() < 1000) {
            out_.push_back({name, record_, 0, why});
        }
    }

    void check_tensor(const PickleValue& tensor) {
        const auto& storage = *tensor.parts[0];
        std::vector<int64_t> sizes;
        std::vector<int64_t> strides;
        const auto& offset = *tensor.parts[1];
        if (storage.kind != Kind::storage || offset.kind != Kind::integer || offset.integer < 0 ||
            !numbers(*tensor.parts[2], sizes) || !numbers(*tensor.parts[3], strides) ||
            sizes.size() != strides.size()) {
            return add("tensor", "a tensor is not described as libtorch does");
        }
        const int64_t bytes = width(storage.type);
        if (bytes == 0) {
            return add("tensor", "a tensor holds '" + storage.type.substr(0, 40) + "', which models do not");
        }
        const std::string data = folder_ + storage.text;
        const bool there = archive_.has(data);
        const auto available = __int128(there ? archive_.size_of(data) : 0);
        if (storage.integer < 0 || (storage.integer > 0 && !there) ||
            __int128(storage.integer) * bytes != available) {
            return add("tensor", "record '" + data.substr(0, 60) + "' does not have the size that is stated for it");
        }
        __int128 end = offset.integer;
        __int128 count = 1;
        for (size_t k = 0; k < sizes.size(); ++k) {
            end += __int128(std::max<int64_t>(sizes[k] - 1, 0)) * strides[k];
            count *= sizes[k];
            if (end > __int128(INT64_MAX) || count > __int128(INT64_MAX)) {
                return add("tensor", "a tensor is larger than memory can be");
            }
        }
        if (count > 0 && (end + 1) * bytes > available) {
            add("tensor", "a tensor reaches beyond its numbers in record '" + data.substr(0, 60) + "'");
        } else if (__int128(offset.integer) * bytes > available) {
            add("tensor", "a tensor begins behind its numbers in record '" + data.substr(0, 60) + "'");
        }
    }

    void check_object(const PickleValue& object) {
        const std::string& name = object.text;
        const bool custom = name.compare(0, 24, "__torch__.torch.classes.") == 0 || torch::getCustomClass(name) != nullptr;
        if (custom) {
            if (!permits_.class_permitted(name)) {
                add(name.substr(0, 200), "objects of this class are not on the list");
            } else if (!object.built || object.integer != 0) {
                add("pickle", "an object of class " + name.substr(0, 200) + " has no state");
            }
            return;
        }
        const auto known = script_.classes.find(name);
        if (known == script_.classes.end()) {
            return add("class " + name.substr(0, 200), "the file does not define the class of this object");
        }
        if (!object.built || known->second.is_enum != (object.integer != 0) ) {
            return add("pickle", "an object of class " + name + " is not made as libtorch does");
        }
        if (known->second.is_interface) {
            return add("pickle", "an object is of the interface " + name);
        }
        if (!known->second.is_enum && !known->second.is_tuple) {
            check_state(name, known->second, *object.parts[0]);
        }
    }

    void check_state(const std::string& name, const ScriptClass& described, const PickleValue& state) {
        if (state.kind != Kind::dict) {
            return add("pickle", "an object of class " + name + " has no attributes");
        }
        std::unordered_map<std::string, PicklePart> values;
        for (size_t k = 0; k + 1 < state.parts.size(); k += 2) {
            if (state.parts[k]->kind != Kind::text || !values.emplace(state.parts[k]->text, state.parts[k + 1]).second) {
                return add("pickle", "an object of class " + name + " has an attribute twice, or one without a name");
            }
        }
        for (const auto& [attribute, type] : described.attributes) {
            const auto value = values.find(attribute);
            if (value == values.end()) {
                add("pickle", "an object of class " + name + " has no attribute '" + attribute + "'");
            } else if (!fits(value->second, type, 0)) {
                add("pickle", "attribute '" + attribute + "' of an object of class " + name + " is not of its type");
            }
        }
    }

    void check_tags(const PicklePart& value) {
        for (const auto& tag : value->tags) {
            if (tag.size() > 2000 || std::count(tag.begin(), tag.end(), '[') > 40 ||
                std::count(tag.begin(), tag.end(), '(') > 40) {
                return add("pickle", "a list or dictionary has a type that is none");
            }
            if (tag != value->tags[0]) {
                return add("pickle", "a list or dictionary is of two types");
            }
            auto& type = types_[tag];
            if (!type.has_value()) {
                Parser parser(std::make_shared<Source>(tag));
                type = parser.parseExp().tree();
            }
            if (!fits(value, *type, 0)) {
                add("pickle", "a list or dictionary holds something else than its type says");
            }
        }
    }

    /// True if the value can be used as one of that type without a further check.
    bool fits(const PicklePart& value, const TreeRef& type, int depth) {
        if (depth > deepest_type || ++steps_ > most_steps) {
            return false;
        }
        const auto names = dotted(type);
        if (!names.empty()) {
            return names.size() == 1 ? fits_plain(*value, names[0]) : fits_class(value, names, depth);
        }
        if (type->kind() == TK_SUBSCRIPT) {
            return fits_generic(value, Subscript(type), depth);
        }
        return (type->kind() == TK_NONE || type->kind() == TK_NONE_TYPE) && value->kind == Kind::none;
    }

    static bool fits_plain(const PickleValue& value, const std::string& type) {
        static const std::unordered_map<std::string, std::vector<Kind>> kinds = {
            {"Tensor", {Kind::tensor, Kind::none}}, {"int", {Kind::integer}}, {"float", {Kind::number}},
            {"bool", {Kind::boolean}}, {"str", {Kind::text}}, {"complex", {Kind::complex}},
            {"NoneType", {Kind::none}}, {"Device", {Kind::device}}, {"number", {Kind::integer, Kind::number}},
        };
        const auto found = kinds.find(type);
        return type == "Any" || (found != kinds.end() && std::count(found->second.begin(), found->second.end(), value.kind) > 0);
    }

    bool fits_class(const PicklePart& value, const std::vector<std::string>& names, int depth) {
        const std::string name = joined(names, names.size());
        const auto known = script_.classes.find(name);
        if (known != script_.classes.end() && known->second.is_tuple) {
            const auto& fields = known->second.fields;
            if (value->kind != Kind::tuple || value->parts.size() != fields.size()) {
                return value->kind == Kind::object && value->text == name;
            }
            for (size_t k = 0; k < fields.size(); ++k) {
                if (!fits(value->parts[k], fields[k], depth + 1)) {
                    return false;
                }
            }
            return true;
        }
        if (known != script_.classes.end() && known->second.is_interface) {
            const auto own = value->kind == Kind::object ? script_.classes.find(value->text) : script_.classes.end();
            return own != script_.classes.end() && implements(own->second, known->second);
        }
        return value->kind == Kind::object && value->text == name;
    }

    static bool implements(const ScriptClass& own, const ScriptClass& interface) {
        return std::all_of(interface.signatures.begin(), interface.signatures.end(), [&](const auto& method) {
            const auto has = own.signatures.find(method.first);
            return has != own.signatures.end() && has->second == method.second;
        });
    }

    bool fits_generic(const PicklePart& value, const Subscript& type, int depth) {
        const auto outer = dotted(type.value().tree());
        const auto inner = type.subscript_exprs();
        if (outer.size() != 1 || inner.size() == 0) {
            return false;
        }
        const auto all = [&](size_t first, size_t step, const TreeRef& part) {
            for (size_t k = first; k < value->parts.size(); k += step) {
                if (!fits(value->parts[k], part, depth + 1)) {
                    return false;
                }
            }
            return true;
        };
        if (outer[0] == "Optional") {
            return value->kind == Kind::none || fits(value, inner[0].tree(), depth + 1);
        }
        if (outer[0] == "List" || outer[0] == "Dict") {
            const bool list = outer[0] == "List";
            // Without one, each attribute that holds it would be believed: a list could be of two types.
            const bool tagged = !value->tags.empty() && same_type(value->tags[0], type.range().text().str());
            if (!tagged || value->kind != (list ? Kind::list : Kind::dict) || inner.size() != (list ? 1U : 2U)) {
                return false;
            }
            return list ? all(0, 1, inner[0].tree()) : all(0, 2, inner[0].tree()) && all(1, 2, inner[1].tree());
        }
        if (outer[0] == "Union") {
            bool any = false;
            if (value->kind == Kind::tuple) {
                return false;  // it does not know of which type it is
            }
            for (const auto& part : inner) {
                any = any || (is_exactly(*value, part.tree()) && fits(value, part.tree(), depth + 1));
            }
            return any;
        }
        if (outer[0] != "Tuple" || value->kind != Kind::tuple) {
            return false;
        }
        if (inner.size() == 1 && inner[0].kind() == TK_TUPLE_LITERAL) {
            return value->parts.empty() && TupleLiteral(inner[0]).inputs().empty();
        }
        for (size_t k = 0; k < inner.size(); ++k) {
            if (value->parts.size() != inner.size() || !fits(value->parts[k], inner[k].tree(), depth + 1)) {
                return false;
            }
        }
        return true;
    }

    /// False for values that fit a type and are of another when the code asks: where it may be one of several types,
    /// the code takes it for what is left.
    bool is_exactly(const PickleValue& value, const TreeRef& type) const {
        const auto names = dotted(type);
        if (names.size() == 1 && names[0] == "Tensor") {
            return value.kind == Kind::tensor;
        }
        const auto known = names.empty() ? script_.classes.end() : script_.classes.find(joined(names, names.size()));
        return known == script_.classes.end() || (!known->second.is_tuple && !known->second.is_interface);
    }

    static bool same_type(std::string left, std::string right) {
        for (auto* text : {&left, &right}) {
            text->erase(std::remove_if(text->begin(), text->end(), [](unsigned char c) { return std::isspace(c); }), text->end());
        }
        return left == right;
    }

    const Archive& archive_;
    const Script& script_;
    const Permits& permits_;
    std::string record_;
    std::string folder_;
    std::vector<Foreign>& out_;
    std::unordered_map<std::string, std::optional<TreeRef>> types_;
    size_t steps_ = 0;
};

}  // namespace

void find_objects(const Archive& archive, const Script& script, const Permits& permits, std::vector<Foreign>& out) {
    for (const auto& record : archive.records()) {
        const size_t dot = record.rfind('.');
        const std::string end = dot == std::string::npos ? "" : record.substr(dot);
        const bool extra = record.compare(0, 6, "extra/") == 0;
        if (!extra && (end == ".pkl" || end == ".debug_pkl")) {
            // Tensors are in the folder of the pickle's name; debug records have none.
            ObjectReader(archive, script, permits, record, record.substr(0, dot) + "/", out).read();
        }
    }
}

}  // namespace mtt
