-- Health of a TempoStack or TempoMonolithic for Argo CD. Only what Argo CD's interpreter has by default is used.
local status = obj.status or {}
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "waiting for the operator to see the last change"}
end

local found = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.status == "True" then
    found[condition.type] = condition.message or condition.reason or ""
  end
end

for _, wrong in ipairs({"ConfigurationError", "Failed", "Stalled"}) do
  if found[wrong] ~= nil then
    return {status = "Degraded", message = found[wrong]}
  end
end
if found["Ready"] ~= nil then
  local message = found["Ready"]
  if found["Unserved"] ~= nil then
    message = message .. "; not served: " .. found["Unserved"]
  end
  return {status = "Healthy", message = message}
end
return {status = "Progressing", message = found["Pending"] or "waiting for the operator"}
